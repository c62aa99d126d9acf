"""faiss indexes of documents: filling in pieces, saving, size in memory, determinism.

All use the inner product. A document's id in faiss is its position in the corpus.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rankstone.errors import AdapterError
from rankstone.runners.protocols import Chunks, Hits
from rankstone.runners.search.exact.flat import (
    Vectors,
    check_documents,
    check_queries,
    full,
    padded,
)

Positions = NDArray[np.int64]
BLOCK_ROWS = 65_536
"""Vectors added at once; fixed, because a graph depends on it, but must not depend on the sizes of
shards."""
FEW = 64
"""Length of a row up to which scores are compared without NumPy."""
ID_BYTES = 8
FLOAT_BYTES = 4
POINTS_PER_CENTROID = 256
"""Most training points per centroid, as in faiss."""


def library() -> Any:
    """Return faiss, imported on use; untyped, as its stubs are incomplete."""
    import faiss

    return faiss


class FaissIndex:
    """A filled faiss index.

    Ties go to the lower position, but at rank k they are broken by faiss, deterministically. Scores
    that differ only by rounding are ties (see `settled`): rounding of a document's score depends on
    its neighbours and on the other queries.
    """

    def __init__(self, index: Any) -> None:
        """`index`: a faiss index on which search parameters, such as lists to probe, are set."""
        self.faiss = index

    def search(self, queries: Vectors, k: int) -> Hits:
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        check_queries(queries, self.faiss.d)
        depth = min(k, self.faiss.ntotal)
        if not len(queries) or not depth:
            empty = (len(queries), 0)
            return padded(np.empty(empty, np.int64), np.empty(empty, np.float32), k)
        scores, docs = self.faiss.search(queries, depth, params=self._parameters(depth))
        return padded(*settled(docs, scores), k)

    def _parameters(self, depth: int) -> Any:
        """Return parameters with which a graph examines at least `depth` candidates.

        faiss ends a search by `efSearch` alone, and returns fewer documents than it is asked for.
        """
        graph = getattr(self.faiss, "hnsw", None)
        if graph is None or graph.efSearch >= depth:
            return None
        return library().SearchParametersHNSW(efSearch=depth)

    def save(self, folder: Path) -> None:
        faiss = library()
        faiss.write_index(self.faiss, str(folder / "index.faiss"))

    @classmethod
    def load(cls, folder: Path) -> FaissIndex:
        faiss = library()
        return cls(faiss.read_index(str(folder / "index.faiss")))

    def nbytes(self) -> int:
        """Return the bytes of codes or vectors, stored ids, centroids, rotations, and graph."""
        return resident_bytes(self.faiss)


def _all_apart(docs: Positions, scores: Vectors) -> bool:
    """Return True if there is no padding and no near-ties, the common case.

    A unit in the last place is at most 2^-23 of a normal float32.
    """
    if not full(docs):
        return False
    if scores.size <= FEW and len(scores) == 1:
        return _row_apart(scores[0].tolist())
    with np.errstate(invalid="ignore", over="ignore"):
        least = (scores[:, :-1] - scores[:, 1:]).min(initial=np.inf)
        return bool(least > 2.0**-20 * np.abs(scores).max() > 2.0**-120)


def _row_apart(scores: list[float]) -> bool:
    """Return the same for one short row, several times faster than with NumPy."""
    least = 2.0**-20 * max(map(abs, scores))
    return least > 2.0**-120 and all(high - low > least for high, low in pairwise(scores))


def settled(docs: Positions, scores: Vectors) -> tuple[Positions, Vectors]:
    """Return (n, k) rankings in which scores that are equal up to rounding are equal.

    In a run of scores whose neighbours differ by at most four units in the last place of the row's
    largest, all get the first score, and documents are sorted by position.
    """
    if _all_apart(docs, scores):
        return docs, scores
    # Padding has the lowest float or -inf, far from any document's score.
    found = np.where(docs >= 0, scores, np.float32(0))
    near = 4 * np.spacing(np.abs(found).max(axis=1, initial=0), dtype=np.float32)
    with np.errstate(invalid="ignore", over="ignore"):
        falls = np.diff(scores, axis=1) < -near[:, None]
    tied = np.flatnonzero(~falls.all(axis=1))
    if not len(tied):
        return docs, scores
    runs = np.zeros((len(tied), docs.shape[1]), dtype=np.int64)
    np.cumsum(falls[tied], axis=1, out=runs[:, 1:])
    heads = np.where(np.diff(runs, axis=1, prepend=-1) > 0, np.arange(docs.shape[1]), 0)
    np.maximum.accumulate(heads, axis=1, out=heads)
    order = np.lexsort((docs[tied], runs))
    docs, scores = docs.copy(), scores.copy()
    docs[tied] = np.take_along_axis(docs[tied], order, axis=1)
    scores[tied] = np.take_along_axis(scores[tied], heads, axis=1)
    return docs, scores


def resident_bytes(index: Any) -> int:
    """Return the computed bytes that searching `index` keeps in memory."""
    faiss = library()
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        chain = (
            faiss.downcast_VectorTransform(index.chain.at(i)) for i in range(index.chain.size())
        )
        floats = sum(transform.A.size() + transform.b.size() for transform in chain)
        return int(floats) * FLOAT_BYTES + resident_bytes(index.index)
    if isinstance(index, faiss.IndexIVF):
        rows = index.ntotal * (index.code_size + ID_BYTES)
        return int(rows) + _centroid_bytes(index) + resident_bytes(index.quantizer)
    if isinstance(index, faiss.IndexHNSW):
        graph = index.hnsw
        links = 4 * (graph.neighbors.size() + graph.levels.size()) + 8 * graph.offsets.size()
        return int(links) + resident_bytes(index.storage)
    return int(index.codes.size()) + _centroid_bytes(index)


def _centroid_bytes(index: Any) -> int:
    return int(index.pq.centroids.size()) * FLOAT_BYTES if hasattr(index, "pq") else 0


def blocks(documents: Iterable[Vectors], rows: int = BLOCK_ROWS) -> Iterator[Vectors]:
    """Yield the checked vectors in blocks of `rows`, for any pieces of `documents`."""
    kept: list[Vectors] = []
    position = dim = waiting = 0
    for piece in documents:
        check_documents(piece, position, dim)
        position, dim = position + len(piece), piece.shape[1]
        while len(piece):
            taken = piece[: rows - waiting]
            kept, waiting, piece = [*kept, taken], waiting + len(taken), piece[len(taken) :]
            if waiting == rows:
                yield _joined(kept)
                kept, waiting = [], 0
    if kept:
        yield _joined(kept)


def _joined(pieces: list[Vectors]) -> Vectors:
    return np.ascontiguousarray(np.concatenate(pieces), dtype=np.float32)


def training_sample(documents: Chunks[Vectors], n: int, seed: int) -> Vectors:
    """Return at most `n` documents for training, with finite values."""
    if not len(documents):
        raise AdapterError("there are no documents to index. Give the task a corpus.")
    sample = np.ascontiguousarray(documents.sample(n, seed), dtype=np.float32)
    if sample.ndim != 2 or not np.isfinite(sample).all():
        for _ in blocks(documents):  # raises an error with the document's position
            pass
    return sample


def filled(index: Any, documents: Iterable[Vectors], work: Path) -> FaissIndex:
    """Return the trained `index` filled with all documents.

    It is written to the folder `work` and read back: this releases memory over-allocated while it
    grew (up to half), and the searched index is the same as a saved one.
    """
    for block in blocks(documents):
        index.add(block)
    return compacted(index, work)


def compacted(index: Any, work: Path) -> FaissIndex:
    """Return `index` re-read from a file, without over-allocated memory."""
    FaissIndex(index).save(work)
    try:
        return FaissIndex.load(work)
    finally:
        (work / "index.faiss").unlink()
