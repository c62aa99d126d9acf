"""Exact inner-product search by faiss over vectors that need not fit in memory."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sized
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rankstone.errors import AdapterError, DefinitionError
from rankstone.runners.protocols import Hits

Vectors = NDArray[np.float32]
BLOCK_BYTES = 768 * 2**20
"""Vectors compared at once: smaller collections are held in memory, larger ones read in blocks of
this size. Every block costs a selection of the k best from nothing, so few large ones are best."""


class Rows(Sized, Iterable[Vectors], Protocol):
    """(n, dim) float32 vectors as consecutive pieces; each iteration starts anew."""


class ExactIndex:
    """The documents of highest inner product, by brute force.

    Ties at rank k are broken by faiss, in the same way in every run. A score may differ
    in its last bits between a batch and a single query: faiss multiplies them by other kernels.
    """

    DESCRIPTION = "exact inner product, faiss in blocks"

    def __init__(self, rows: Rows | Vectors, *, dim: int) -> None:
        """Use `build` or `load`. `rows`: an array where the vectors are resident."""
        self._rows = rows
        self._dim = dim

    @classmethod
    def build(cls, documents: Rows) -> ExactIndex:
        """Read `documents` once, which encodes what is not yet, and check every vector.

        Raises AdapterError for NaN or infinite values, or vectors of different lengths.
        """
        kept: list[Vectors] | None = []
        position = dim = size = 0
        for piece in documents:
            check_documents(piece, position, dim)
            position, dim, size = position + len(piece), piece.shape[1], size + piece.nbytes
            kept = None if kept is None or size > BLOCK_BYTES else [*kept, piece]
        if kept is None:
            return cls(documents, dim=dim)
        return cls(np.concatenate(kept) if kept else np.empty((0, 0), np.float32), dim=dim)

    def search(self, queries: Vectors, k: int) -> Hits:
        import faiss

        queries = np.ascontiguousarray(queries, dtype=np.float32)
        check_queries(queries, self._dim if len(self._rows) else None)
        best = faiss.ResultHeap(len(queries), min(k, len(self._rows)), keep_max=True)
        position = 0
        for block in self.blocks():
            depth = min(best.k, len(block))
            scores, docs = faiss.knn(queries, block, depth, metric=faiss.METRIC_INNER_PRODUCT)
            best.add_result(scores, docs + position)
            position += len(block)
        best.finalize()
        return padded(best.I, best.D, k)

    def blocks(self) -> Iterator[Vectors]:
        """The vectors: one array if resident, else mapped blocks, or pieces put in a buffer."""
        if isinstance(self._rows, np.ndarray):
            yield from (self._rows,) if len(self._rows) else ()
            return
        if isinstance(self._rows, Mapped):
            yield from self._rows
            return
        buffer = np.empty((self._block_rows(), self._dim), dtype=np.float32)
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
        mapped = Mapped(folder / "vectors.f32", about["rows"], about["dim"])
        if about["rows"] * about["dim"] * 4 <= BLOCK_BYTES:
            return cls.build(mapped)
        return cls(mapped, dim=about["dim"])

    def nbytes(self) -> int:
        """The vectors if they are resident, else the buffer that blocks of them are read into."""
        rows = len(self._rows) if isinstance(self._rows, np.ndarray) else self._block_rows()
        return rows * self._dim * 4

    def _block_rows(self) -> int:
        return min(len(self._rows), max(BLOCK_BYTES // (self._dim * 4), 1))


class Mapped:
    """Vectors in one file, mapped block by block, so that pages of past blocks are given back."""

    def __init__(self, path: Path, rows: int, dim: int) -> None:
        self._path = path
        self._shape = (rows, dim)

    def __len__(self) -> int:
        return self._shape[0]

    def __iter__(self) -> Iterator[Vectors]:
        rows, dim = self._shape
        block_rows = max(BLOCK_BYTES // max(dim * 4, 1), 1)  # no dimensions if there are no rows
        for start in range(0, rows, block_rows):
            shape = (min(block_rows, rows - start), dim)
            yield np.memmap(self._path, np.float32, "r", offset=start * dim * 4, shape=shape)

    def take(self, positions: NDArray[np.int64]) -> Vectors:
        """The vectors at `positions`, in that order, in memory."""
        if not len(positions):
            return np.empty((0, self._shape[1]), np.float32)
        vectors: Vectors = np.memmap(self._path, np.float32, "r", shape=self._shape)[positions]
        return vectors.view(np.ndarray)


def written(pieces: Iterable[Vectors], dim: int, work: Path) -> Mapped:
    """Vectors that are too expensive to be made twice, in a file below `work`."""
    path = Path(mkdtemp(dir=work)) / "vectors.f32"
    rows = 0
    with path.open("wb") as file:
        for piece in pieces:
            file.write(np.ascontiguousarray(piece, dtype=np.float32).data)
            rows += len(piece)
    return Mapped(path, rows, dim)


def dense(rep: Any) -> Vectors:
    """`rep`, which must be (n, dim) vectors; a DefinitionError if the member makes other things."""
    if isinstance(rep, np.ndarray) and rep.ndim == 2:
        return rep.astype(np.float32, copy=False)
    raise DefinitionError(
        f"key 'members': this needs one vector per text, and the member makes {type(rep).__name__}."
        " Name a dense method."
    )


def padded(docs: NDArray[np.int64], scores: Vectors, k: int) -> Hits:
    """Rows of k; what faiss marks as not found (-1) is a pad."""
    hits = Hits.empty(len(docs), k)
    hits.docs[:, : docs.shape[1]] = docs
    hits.scores[:, : docs.shape[1]] = np.where(docs >= 0, scores, -np.inf)
    return hits


def check_documents(piece: Any, position: int, dim: int) -> None:
    """AdapterError unless `piece`, from `position` on, is finite (n, dim); dim 0: not known yet."""
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
    """True if no value is NaN or infinite. Makes no mask of the size of the array: its extremes are
    NaN if any of its values is."""
    return not values.size or bool(np.isfinite([values.min(), values.max()]).all())


def check_queries(queries: Vectors, dim: int | None) -> None:
    """AdapterError unless `queries` are finite (n, dim); None: any dimension will do."""
    if queries.ndim != 2 or (dim is not None and queries.shape[1] != dim):
        raise AdapterError(
            f"expected query vectors (n, {dim or 'dim'}), found {queries.shape}."
            " The encoder must give queries and documents the same dimension."
        )
    if not is_finite(queries):
        raise AdapterError("query vectors hold NaN or infinite values: the encoder is at fault.")
