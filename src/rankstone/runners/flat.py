"""Exact inner-product search over vectors that need not fit in memory."""

from __future__ import annotations

import contextlib
import json
import mmap
from collections.abc import Iterable, Iterator, Sized
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rankstone.errors import AdapterError
from rankstone.runners.protocols import Hits
from rankstone.runners.topk import RunningTop

Vectors = NDArray[np.float32]
MADV_POPULATE_READ = 22
"""Of linux/mman.h; Python has no name for it."""
RESIDENT_BYTES = 256 * 2**20
"""Collections up to this size are held in memory; larger ones stay mapped, block by block."""
QUERIES = 1024
"""Queries scored together; more pass over the documents again."""
SCORES = 2**21
"""Scores computed at once: small enough to be still in the processor's cache when ranked."""


class Rows(Sized, Iterable[Vectors], Protocol):
    """(n, dim) float32 vectors as consecutive blocks; each iteration starts anew."""


class ExactIndex:
    """The documents of highest inner product, by brute force.

    Documents are scored block by block with BLAS and compared with the k-th best score so far, so
    that memory does not grow with the collection. Ties, also across the cut, go to the lower
    position in the corpus. Equal vectors get equal scores up to the rounding of BLAS kernels, which
    may differ in the last bit between a batch and a single query.
    """

    DESCRIPTION = "exact inner product, blocked"

    def __init__(self, rows: Rows, *, dim: int, block_bytes: int) -> None:
        """Use `build` or `load`. `block_bytes`: the size of the largest block of `rows`."""
        self._rows = rows
        self._dim = dim
        self._block_bytes = block_bytes

    @classmethod
    def build(cls, documents: Rows) -> ExactIndex:
        """Read `documents` once, which encodes what is not yet, and check every vector.

        Raises AdapterError for NaN or infinite values, or vectors of different lengths.
        """
        kept: list[Vectors] | None = []
        position = dim = largest = size = 0
        for chunk in documents:
            _check(chunk, position, dim)
            position, dim = position + len(chunk), chunk.shape[1]
            largest, size = max(largest, chunk.nbytes), size + chunk.nbytes
            kept = None if kept is None or size > RESIDENT_BYTES else [*kept, chunk]
        if kept is None:
            return cls(documents, dim=dim, block_bytes=largest)
        matrix = np.concatenate(kept) if kept else np.empty((0, 0), np.float32)
        return cls(Resident(matrix), dim=dim, block_bytes=matrix.nbytes)

    def search(self, queries: Vectors, k: int) -> Hits:
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        if queries.ndim != 2 or (len(self._rows) and queries.shape[1] != self._dim):
            raise AdapterError(
                f"expected query vectors (n, {self._dim}), found {queries.shape}."
                " The encoder must give queries and documents the same dimension."
            )
        if not np.isfinite(queries).all():
            raise AdapterError(
                "query vectors hold NaN or infinite values: the encoder is at fault."
            )
        docs = np.full((len(queries), k), -1, dtype=np.int64)
        scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
        wanted = min(k, len(self._rows))
        if wanted:
            for start in range(0, len(queries), QUERIES):
                part = slice(start, start + QUERIES)
                docs[part, :wanted], scores[part, :wanted] = self._best(queries[part], wanted)
        return Hits(docs, scores)

    def _best(self, queries: Vectors, k: int) -> Hits:
        top = RunningTop(len(queries), k, len(self._rows))
        # One buffer for all blocks: fresh pages for each would cost a tenth of the search.
        size = min(max(SCORES, len(queries)), len(queries) * len(self._rows))
        buffer = np.empty(size, dtype=np.float32)
        position = 0
        for block in self._rows:
            _score(queries, block, position, top, buffer)
            position += len(block)
            del block  # its pages go before the next block's come, and before the hits are sorted
        del buffer
        return top.best()

    def save(self, folder: Path) -> None:
        with (folder / "vectors.f32").open("wb") as file:
            for block in self._rows:
                file.write(np.ascontiguousarray(block).data)
        about = {"rows": len(self._rows), "dim": self._dim}
        (folder / "vectors.json").write_text(json.dumps(about))

    @classmethod
    def load(cls, folder: Path) -> ExactIndex:
        about = json.loads((folder / "vectors.json").read_text())
        mapped = Mapped(folder / "vectors.f32", about["rows"], about["dim"])
        if about["rows"] * about["dim"] * 4 <= RESIDENT_BYTES:
            return cls.build(mapped)
        return cls(mapped, dim=about["dim"], block_bytes=mapped.block_bytes)

    def nbytes(self) -> int:
        """The vectors if they are resident, else the one block of them that is mapped at a time."""
        return self._block_bytes


class Resident:
    """Vectors in memory."""

    def __init__(self, matrix: Vectors) -> None:
        self._matrix = matrix

    def __len__(self) -> int:
        return len(self._matrix)

    def __iter__(self) -> Iterator[Vectors]:
        yield self._matrix


class Mapped:
    """Vectors in a file, mapped block by block, so that pages of past blocks are given back."""

    def __init__(self, path: Path, rows: int, dim: int, block_rows: int = 16384) -> None:
        self._path = path
        self._shape = (rows, dim)
        self._block_rows = block_rows

    @property
    def block_bytes(self) -> int:
        return min(self._block_rows, self._shape[0]) * self._shape[1] * 4

    def __len__(self) -> int:
        return self._shape[0]

    def __iter__(self) -> Iterator[Vectors]:
        rows, dim = self._shape
        for start in range(0, rows, self._block_rows):
            shape = (min(self._block_rows, rows - start), dim)
            yield np.memmap(self._path, np.float32, "r", offset=start * dim * 4, shape=shape)


def _score(
    queries: Vectors, block: Vectors, position: int, top: RunningTop, buffer: Vectors
) -> None:
    """Rank the documents of `block`, as many at once as have room in `buffer`.

    A function of its own so that no view of a block outlives it: it would keep its pages.
    """
    _read_ahead(block)
    step = len(buffer) // len(queries)
    for start in range(0, len(block), step):
        part = block[start : start + step]
        shape = (len(queries), len(part))
        scores = buffer[: shape[0] * shape[1]].reshape(shape)
        top.add(np.matmul(queries, part.T, out=scores), position + start)


def _read_ahead(block: Vectors) -> None:
    """Map all pages of a mapped block at once: faulting them in one by one takes twice as long."""
    base: Any = block
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # only a hint; Linux >= 5.14
            base.madvise(MADV_POPULATE_READ)


def _check(chunk: Any, position: int, dim: int) -> None:
    if chunk.ndim != 2 or (dim and chunk.shape[1] != dim):
        raise AdapterError(
            f"documents from position {position}: expected vectors (n, {dim or 'dim'}),"
            f" found shape {chunk.shape}. The encoder is at fault."
        )
    # The extremes of an array are NaN if any of its values is; no mask the size of it is needed.
    if chunk.size and not np.isfinite([chunk.min(), chunk.max()]).all():
        bad = position + int(np.flatnonzero(~np.isfinite(chunk).all(axis=1))[0])
        raise AdapterError(
            f"the vector of the document at position {bad} holds NaN or infinite values:"
            " the encoder is at fault."
        )
