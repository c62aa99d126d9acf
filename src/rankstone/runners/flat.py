"""Exact inner-product search over vectors that need not fit in memory."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sized
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rankstone.errors import AdapterError
from rankstone.runners.protocols import Hits
from rankstone.runners.topk import RunningTop

Vectors = NDArray[np.float32]
RESIDENT_BYTES = 256 * 2**20
"""Collections up to this size are held in memory; larger ones stay mapped, block by block."""
QUERIES = 1024
"""Queries scored together; more pass over the documents again."""
QUERIES_PER_THREAD = 32
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

    def __init__(self, rows: Rows, *, dim: int, block_bytes: int, threads: int = 1) -> None:
        """Use `build` or `load`. `block_bytes`: the size of the largest block of `rows`."""
        self._threads = threads
        self._rows = rows
        self._dim = dim
        self._block_bytes = block_bytes

    @classmethod
    def build(cls, documents: Rows, *, threads: int = 1) -> ExactIndex:
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
            return cls(documents, dim=dim, block_bytes=largest, threads=threads)
        matrix = np.concatenate(kept) if kept else np.empty((0, 0), np.float32)
        return cls(Resident(matrix), dim=dim, block_bytes=matrix.nbytes, threads=threads)

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
        # Ranking is split by queries among threads, as BLAS splits the scoring.
        parts = np.array_split(np.arange(len(queries)), self._threads_for(len(queries)))
        slices = [slice(part[0], part[-1] + 1) for part in parts]
        tops = [RunningTop(len(part), k, len(self._rows)) for part in parts]
        step = max(SCORES // len(queries), 1)
        # One buffer for all blocks: fresh pages for each would cost a tenth of the search.
        buffer = np.empty(len(queries) * min(step, len(self._rows)), dtype=np.float32)
        position = 0
        with ThreadPoolExecutor(len(tops)) as pool:
            each = map if len(tops) == 1 else pool.map
            for block in self._rows:
                for start in range(0, len(block), step):
                    part = block[start : start + step]
                    shape = (len(queries), len(part))
                    scores = buffer[: shape[0] * shape[1]].reshape(shape)
                    np.matmul(queries, part.T, out=scores)
                    views = [scores[rows] for rows in slices]
                    list(each(RunningTop.add, tops, views, repeat(position)))
                    position += len(part)
            best = list(each(RunningTop.best, tops))
        return Hits(
            np.concatenate([hits.docs for hits in best]),
            np.concatenate([hits.scores for hits in best]),
        )

    def _threads_for(self, n_queries: int) -> int:
        """Fewer queries than a few dozen per thread are ranked faster by one."""
        return max(min(self._threads, n_queries // QUERIES_PER_THREAD), 1)

    def save(self, folder: Path) -> None:
        with (folder / "vectors.f32").open("wb") as file:
            for block in self._rows:
                file.write(np.ascontiguousarray(block).data)
        about = {"rows": len(self._rows), "dim": self._dim, "threads": self._threads}
        (folder / "vectors.json").write_text(json.dumps(about))

    @classmethod
    def load(cls, folder: Path) -> ExactIndex:
        about = json.loads((folder / "vectors.json").read_text())
        mapped = Mapped(folder / "vectors.f32", about["rows"], about["dim"])
        if about["rows"] * about["dim"] * 4 <= RESIDENT_BYTES:
            return cls.build(mapped, threads=about["threads"])
        return cls(
            mapped, dim=about["dim"], block_bytes=mapped.block_bytes, threads=about["threads"]
        )

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
