"""Exact inner-product search by faiss: vectors in memory if they fit, else read in blocks."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from rankstone.errors import AdapterError, DefinitionError
from rankstone.predicates import Where
from rankstone.profiling.machine import usable_cores
from rankstone.profiling.memory import resident_limit
from rankstone.runners.protocols import Hits

Vectors = NDArray[np.float32]
Ints = NDArray[np.int64]
BLOCK_BYTES = 768 * 2**20
"""Bytes of vectors compared at once if they are not in memory. Every block needs its own selection
of the k best, so few large blocks are fastest."""
SLICE_ROWS = 2**16
"""Vectors in memory that one thread compares with few queries. Fixed, so that ties at rank k do not
depend on the number of threads."""
FROM_DISK = (
    "exact search reads the vectors from disk for every batch of queries: they exceed half of the"
    " memory that was available"
)
FEW_QUERIES = 20
"""Number of queries from which faiss multiplies matrices instead of comparing one by one."""

FEW_VALUES = 2**12
"""Number of values up to which NumPy's calls take longer than what they compute."""


class Rows(Sized, Iterable[Vectors], Protocol):
    """(n, dim) float32 vectors as consecutive pieces; each iteration starts again."""


ELSEWHERE: ContextVar[Callable[[Rows], ExactIndex] | None] = ContextVar("elsewhere", default=None)
"""Builds indexes in the memory of several machines, for vectors that exceed that of one."""


class ExactIndex:
    """Brute-force search by inner product.

    Ties at rank k are broken by faiss, deterministically. A score may be rounded differently in a
    batch than for a single query, for which faiss uses different kernels.
    """

    DESCRIPTION = "exact inner product, faiss in blocks"
    filtering: ClassVar[Literal["before"]] = "before"

    def __init__(self, rows: Rows | Vectors, *, dim: int) -> None:
        """Use `build` or `load`. `rows`: an array if the vectors are in memory."""
        self._rows = rows
        self._dim = dim
        self._part: tuple[Where, ExactIndex] | None = None

    @classmethod
    def build(cls, documents: Rows | Vectors) -> ExactIndex:
        """Read `documents` once, which encodes missing shards, and check every vector.

        Vectors are kept in memory if they take at most half of the available memory; an array is
        kept without copying.

        Raises AdapterError for NaN or infinite values, or vectors of different lengths.
        """
        elsewhere = ELSEWHERE.get()
        if isinstance(documents, np.ndarray):
            check_documents(documents, 0, 0)
            return cls(documents, dim=documents.shape[1])
        if elsewhere is not None:
            return elsewhere(documents)
        position = dim = 0
        held: Vectors | None = np.empty((0, 0), np.float32)
        for piece in documents:
            check_documents(piece, position, dim)
            if not position:
                dim = piece.shape[1]
                fits = 4 * len(documents) * dim <= resident_limit()
                held = np.empty((len(documents), dim), np.float32) if fits else None
            if held is not None:
                held[position : position + len(piece)] = piece
            position += len(piece)
        return cls(documents if held is None else held, dim=dim)

    def search(self, queries: Vectors, k: int) -> Hits:
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        check_queries(queries, self._dim if len(self._rows) else None)
        depth = min(k, len(self._rows))
        return padded(*best_of(self.found(queries, depth), len(queries), depth), k)

    def search_where(self, queries: Vectors, k: int, where: Where) -> Hits:
        """Search the vectors that pass, which are kept in memory until a different filter is
        used."""
        part = self._part
        if part is None or part[0] is not where:
            part = self._part = (where, ExactIndex(self._passing(where), dim=self._dim))
        found = part[1].search(queries, k)
        docs = np.append(np.flatnonzero(where.passes), -1)[found.docs]
        return Hits(docs, found.scores)

    def _passing(self, where: Where) -> Vectors:
        if isinstance(self._rows, np.ndarray):
            return self._rows[where.passes]
        kept, position = [np.empty((0, self._dim), np.float32)], 0
        for block in self.blocks():
            kept.append(block[where.passes[position : position + len(block)]])
            position += len(block)
        return np.concatenate(kept)

    def found(self, queries: Vectors, k: int) -> Iterator[tuple[int, Vectors, Ints]]:
        """Yield the position of each part, and its best documents and scores, best first."""
        position, few = 0, len(queries) < FEW_QUERIES
        for block in self.blocks():
            starts = range(0, len(block), SLICE_ROWS if few else len(block))
            parts = [block[start : start + starts.step] for start in starts]
            each = threads(usable_cores()).map if len(parts) > 1 else map
            made = each(lambda part: knn(queries, part, k), parts)
            for start, found in zip(starts, made, strict=True):
                yield position + start, *found
            position += len(block)

    def blocks(self) -> Iterator[Vectors]:
        """Yield slices of an array in memory, else mapped blocks, else pieces in a buffer.

        Block boundaries are the same in all three cases, because they affect ties and rounding.
        """
        size = block_rows(self._dim)
        if isinstance(self._rows, np.ndarray):
            for start in range(0, len(self._rows), size):
                yield self._rows[start : start + size]
            return
        if isinstance(self._rows, Mapped):
            yield from self._rows
            return
        buffer = np.empty((min(size, len(self._rows)), self._dim), dtype=np.float32)
        filled = 0
        for piece in self._rows:
            while len(piece):
                taken = piece[: len(buffer) - filled]
                buffer[filled : filled + len(taken)] = taken
                filled, piece = filled + len(taken), piece[len(taken) :]
                if filled == len(buffer):
                    yield buffer
                    filled = 0
        if filled:
            yield buffer[:filled]

    def save(self, folder: Path) -> None:
        with (folder / "vectors.f32").open("wb") as file:
            for block in self.blocks():
                file.write(block.data)
        about = {"rows": len(self._rows), "dim": self._dim}
        (folder / "vectors.json").write_text(json.dumps(about))

    @classmethod
    def load(cls, folder: Path) -> ExactIndex:
        about = json.loads((folder / "vectors.json").read_text())
        return cls.build(Mapped(folder / "vectors.f32", about["rows"], about["dim"]))

    def notes(self) -> Sequence[str]:
        """Return a note if vectors are read from disk at every search."""
        return () if isinstance(self._rows, np.ndarray) else (FROM_DISK,)

    def nbytes(self) -> int:
        """Return the bytes of the vectors if in memory, else of the buffer for blocks."""
        rows = len(self._rows)
        if not isinstance(self._rows, np.ndarray):
            rows = min(rows, block_rows(self._dim))
        return rows * self._dim * 4


def block_rows(dim: int) -> int:
    return max(BLOCK_BYTES // max(dim * 4, 1), 1)  # an empty corpus has dimension 0


def knn(queries: Vectors, block: Vectors, k: int) -> tuple[Vectors, Ints]:
    """Return scores and positions in `block` of the min(k, len(block)) best of each query."""
    import faiss

    scores, docs = faiss.knn(queries, block, min(k, len(block)), metric=faiss.METRIC_INNER_PRODUCT)
    return scores, docs


def best_of(
    parts: Iterable[tuple[int, Vectors, Ints]], n_queries: int, k: int
) -> tuple[Ints, Vectors]:
    """Return the documents and scores of the `k` best of all parts, best first.

    Args:
        parts: position of each part, and scores and documents of its best for each query.
    """
    import faiss

    with one_thread() if n_queries == 1 else contextlib.nullcontext():
        best = faiss.ResultHeap(n_queries, k, keep_max=True)
        for position, scores, docs in parts:
            best.add_result(scores, docs + position)
        best.finalize()
    return best.I, best.D


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Run faiss on one thread: a graph built by several is not deterministic, and those without
    work keep a core busy for milliseconds, also while the next query is encoded."""
    import faiss

    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)


@cache
def threads(count: int) -> ThreadPoolExecutor:
    """Return a pool of threads in which faiss starts no threads of its own."""
    import faiss

    return ThreadPoolExecutor(count, initializer=faiss.omp_set_num_threads, initargs=(1,))


class Mapped:
    """Vectors in one file, mapped block by block, so that pages of earlier blocks can be
    released."""

    def __init__(self, path: Path, rows: int, dim: int) -> None:
        self._path = path
        self._shape = (rows, dim)

    def __len__(self) -> int:
        return self._shape[0]

    def __iter__(self) -> Iterator[Vectors]:
        rows, dim = self._shape
        size = block_rows(dim)
        for start in range(0, rows, size):
            shape = (min(size, rows - start), dim)
            yield np.memmap(self._path, np.float32, "r", offset=start * dim * 4, shape=shape)

    def take(self, positions: NDArray[np.int64]) -> Vectors:
        """Return the vectors at `positions`, in that order, in memory."""
        if not len(positions):
            return np.empty((0, self._shape[1]), np.float32)
        vectors: Vectors = np.memmap(self._path, np.float32, "r", shape=self._shape)[positions]
        return vectors.view(np.ndarray)


def written(pieces: Iterable[Vectors], dim: int, work: Path) -> Mapped:
    """Write vectors that are too expensive to compute twice to a file below `work`."""
    path = Path(mkdtemp(dir=work)) / "vectors.f32"
    rows = 0
    with path.open("wb") as file:
        for piece in pieces:
            file.write(np.ascontiguousarray(piece, dtype=np.float32).data)
            rows += len(piece)
    return Mapped(path, rows, dim)


def dense(rep: Any) -> Vectors:
    """Return `rep`; DefinitionError unless it is an array of (n, dim) vectors."""
    if isinstance(rep, np.ndarray) and rep.ndim == 2:
        return rep.astype(np.float32, copy=False)
    raise DefinitionError(
        f"key 'members': this needs one vector per text, and the member makes {type(rep).__name__}."
        " Name a dense method."
    )


def padded(docs: NDArray[np.int64], scores: Vectors, k: int) -> Hits:
    """Return rows of length k; faiss's -1 for missing results becomes padding."""
    if docs.shape[1] == k and full(docs):
        return Hits(docs.astype(np.int64, copy=False), scores.astype(np.float32, copy=False))
    hits = Hits.empty(len(docs), k)
    hits.docs[:, : docs.shape[1]] = docs
    hits.scores[:, : docs.shape[1]] = np.where(docs >= 0, scores, -np.inf)
    return hits


def full(docs: NDArray[Any]) -> bool:
    """Return True if there are results and no padding, which is at the end of rows."""
    return bool(docs.size) and bool((docs[0, -1] if len(docs) == 1 else docs[:, -1].min()) >= 0)


def check_documents(piece: Any, position: int, dim: int) -> None:
    """Raise AdapterError unless `piece`, from `position` on, is finite (n, dim); dim 0: any."""
    if piece.ndim != 2 or (dim and piece.shape[1] != dim):
        raise AdapterError(
            f"documents from position {position}: expected vectors (n, {dim or 'dim'}),"
            f" found shape {piece.shape}. The encoder is at fault."
        )
    if not is_finite(piece):
        bad = position + int(np.flatnonzero(~np.isfinite(piece).all(axis=1))[0])
        raise AdapterError(
            f"the vector of the document at position {bad} holds NaN or infinite values:"
            " the encoder is at fault."
        )


def is_finite(values: NDArray[Any]) -> bool:
    """Return True if no value is NaN or infinite, without a mask of the array's size: its minimum
    and maximum are NaN if any value is. So is a sum of squares, the faster test of few values."""
    few = values.size <= FEW_VALUES
    if few and values.dtype.kind == "f" and math.isfinite(np.vdot(values, values)):
        return True
    return not values.size or (math.isfinite(values.min()) and math.isfinite(values.max()))


def check_queries(queries: Vectors, dim: int | None) -> None:
    """Raise AdapterError unless `queries` are finite (n, dim); dim None: any."""
    if queries.ndim != 2 or (dim is not None and queries.shape[1] != dim):
        raise AdapterError(
            f"expected query vectors (n, {dim or 'dim'}), found {queries.shape}."
            " The encoder must give queries and documents the same dimension."
        )
    if not is_finite(queries):
        raise AdapterError("query vectors hold NaN or infinite values: the encoder is at fault.")
