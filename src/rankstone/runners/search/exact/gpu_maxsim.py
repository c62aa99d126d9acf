"""Exact late interaction in GPU memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rankstone.errors import AdapterError
from rankstone.profiling.device import SEARCH_BYTES, memory_errors, opened, resolve, search_limit
from rankstone.runners.protocols import Hits
from rankstone.runners.representations.pieces import Stored
from rankstone.runners.representations.ragged import Ragged, decoded
from rankstone.runners.search.exact.flat import is_finite
from rankstone.runners.search.exact.gpu import TOO_LARGE, Best, note, tensor
from rankstone.runners.search.exact.maxsim import MaxSimIndex, Pieces, check_dim, query_tiles, runs

BLOCK_VECTORS, TILE_VECTORS = 2**18, 2**9
"""Document and query vectors multiplied at once: their products, of which only the maxima are kept,
take 512 MiB."""


class Block(NamedTuple):
    """Consecutive documents with at least one vector, on a device."""

    positions: Any
    """torch.Tensor (n_docs,) int64."""
    lengths: Any
    """torch.Tensor (n_docs,) int64: number of vectors of each document."""
    vectors: Any
    """torch.Tensor (lengths.sum(), dim) float32."""

    @classmethod
    def of(cls, start: int, part: Ragged, device: Any) -> Block:
        """Copy documents from position `start` on to the device."""
        import torch

        held = np.flatnonzero(part.lengths)
        arrays = torch.from_numpy(start + held), torch.from_numpy(part.lengths[held])
        return cls(*(one.to(device) for one in (*arrays, tensor(decoded(part.tokens)))))

    def scores(self, queries: Any, sums: Any) -> Any:
        """Return the (n_queries, n_docs) MaxSim scores of (dim, n) `queries`."""
        import torch

        maxima = [
            torch.segment_reduce(self.vectors @ some, "max", lengths=self.lengths, unsafe=True)
            for some in queries.split(TILE_VECTORS, dim=1)
        ]
        return (torch.cat(maxima, dim=1) @ sums).T


class GpuMaxSimIndex:
    """The scores of `MaxSimIndex`, with all vectors in GPU memory, as float32.

    Ties at rank k go to the lower position.
    """

    def __init__(self, blocks: list[Block], *, documents: Pieces, device: str) -> None:
        """Use `maxsim`."""
        self._blocks, self._documents, self._device = blocks, documents, device

    @classmethod
    def build(cls, documents: Pieces, device: str) -> GpuMaxSimIndex | None:
        """Read `documents` once; None if `device` should not hold them.

        Raises AdapterError for NaN or infinite values, or vectors of different lengths.
        """
        limit, blocks, size = search_limit(device), list[Block](), 0
        for start, part in _checked(documents):
            size += 4 * len(part.tokens) * part.dim
            if size > limit:
                return None
            if len(part.tokens):
                blocks.append(Block.of(start, part, opened(device)))
        found = cls(blocks, documents=documents, device=device)
        return found if size >= SEARCH_BYTES else None

    def search(self, queries: Ragged, k: int) -> Hits:
        import torch

        on = self._blocks[0].vectors.device
        best = Best(len(queries), k, on)
        check_dim(queries, self._blocks[0].vectors.shape[1], "queries")
        check(queries, "queries")
        with torch.inference_mode(), memory_errors(TOO_LARGE):
            for tile in query_tiles(queries):
                rows, *matrices = (
                    one.to(on) for one in (torch.from_numpy(tile.rows), tile.vectors, tile.sums)
                )
                for block in self._blocks:
                    best.merge(rows, block.scores(*matrices), block.positions)
            return best.hits()

    def save(self, folder: Path) -> None:
        """Save the vectors in their stored precision."""
        Stored.write(folder, self._documents)

    @classmethod
    def load(cls, folder: Path) -> GpuMaxSimIndex | MaxSimIndex:
        return maxsim(Stored(folder), resolve())

    def notes(self) -> Sequence[str]:
        """Return a note that search runs on a GPU."""
        return (note(self._device),)

    def nbytes(self) -> int:
        """Return the bytes of the vectors in GPU memory."""
        return sum(int(block.vectors.nbytes) for block in self._blocks)


def maxsim(documents: Pieces, device: str) -> GpuMaxSimIndex | MaxSimIndex:
    """Return exact late interaction on `device` if it is a GPU suitable for the vectors, as in
    `rankstone.runners.search.exact.gpu.exact`, else on the CPU."""
    found = GpuMaxSimIndex.build(documents, device) if device.startswith("cuda") else None
    return found or MaxSimIndex.build(documents)


def _checked(documents: Pieces) -> Iterator[tuple[int, Ragged]]:
    """Yield position and vectors of documents to multiply at once, with their values checked."""
    start = dim = 0
    for piece in documents:
        for part in runs(piece, BLOCK_VECTORS):
            where = f"documents from position {start}"
            check_dim(part, dim, where)
            check(part, where)
            yield start, part
            start, dim = start + len(part), part.dim


def check(part: Ragged, where: str) -> None:
    """Raise AdapterError if vectors contain NaN or infinite values."""
    if not is_finite(decoded(part.tokens)):
        raise AdapterError(
            f"{where}: vectors hold NaN or infinite values: the encoder is at fault."
        )
