"""Exact inner-product search over sparse vectors, by an inverted index."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from rankstone.errors import AdapterError
from rankstone.profiling.memory import resident_limit
from rankstone.runners.protocols import Hits
from rankstone.runners.representations.base import concatenate, offsets_of, rows_of_runs
from rankstone.runners.representations.sparse_rows import SparseRows, narrowed
from rankstone.runners.saved import SavedIndex
from rankstone.runners.search.exact.flat import FROM_DISK, is_finite
from rankstone.runners.top_k import highest, merged

ENTRY_BYTES = 8
BLOCK_ENTRIES = 2**23
"""Entries per block if the lists do not fit into memory."""


class Rows(Sized, Iterable[SparseRows], Protocol):
    """Sparse vectors of all documents as consecutive pieces; re-iterable."""


@dataclass(frozen=True, eq=False)
class InvertedIndex(SavedIndex):
    """Inverted lists: documents and weights for every vocabulary entry.

    The score is the inner product, summed in float32 over the query's terms in vocabulary order, so
    that scores are the same for a single query and in a batch. Only documents with a score above
    zero are returned: a query that shares no term with any document finds nothing. Ties, also at
    rank k, go to the lower position in the corpus.

    Lists are kept in memory if they take at most half of the available memory; else each search
    builds them block by block, with the same results.
    """

    DESCRIPTION: ClassVar[str] = "exact inner product, inverted lists"

    lists: Any
    """A scipy ``csc_array`` with one column per term; None if it would not fit into memory."""
    width: int
    """Size of the vocabulary; 0 for an empty corpus."""
    documents: Rows | None = None
    """Source of the lists in each search, if they are not in memory."""

    @classmethod
    def build(cls, documents: Rows) -> InvertedIndex:
        """Build the index from `documents`, read twice: to measure the lists, and to fill them.

        Memory is that of the finished index and one piece. Raises AdapterError for NaN or infinite
        weights, or vocabularies of different sizes.
        """
        position = width = 0
        counts = np.zeros(0, dtype=np.int64)
        for piece in documents:
            check(piece, position, width)
            counts = counts if width else np.zeros(piece.width, dtype=np.int64)
            width, position = piece.width, position + len(piece)
            counts += np.bincount(piece.terms, minlength=width)
        if ENTRY_BYTES * counts.sum() > resident_limit():
            return cls(None, width, documents)
        return cls(_lists(documents, counts, position), width)

    def search(self, queries: SparseRows, k: int) -> Hits:
        if len(queries) and self.width and queries.width != self.width:
            raise AdapterError(
                f"expected query vectors over {self.width} entries, found"
                f" {queries.width}. The encoder must give queries and documents one vocabulary."
            )
        if self.documents is None:
            return _found(self.lists, queries, k)
        best, position = Hits.empty(len(queries), k), 0
        for block in _blocks(self.documents):
            counts = np.bincount(block.terms, minlength=block.width)
            found = _found(_lists([block], counts, len(block)), queries, k)
            found.docs[found.docs >= 0] += position
            best, position = merged(best, found, k), position + len(block)
        return best

    def notes(self) -> list[str]:
        """Return a note if vectors are read from disk at every search."""
        return [] if self.documents is None else [FROM_DISK]

    def nbytes(self) -> int:
        """Return the bytes of the lists, or of one block of them if read from disk; a search also
        needs a score for every document."""
        return super().nbytes() if self.documents is None else ENTRY_BYTES * BLOCK_ENTRIES


def _found(lists: Any, queries: SparseRows, k: int) -> Hits:
    hits = Hits.empty(len(queries), k)
    for row, (terms, weights) in enumerate(queries.rows()):
        best, values = highest(_scores(lists, terms, weights), k)
        hits.docs[row, : len(best)] = best
        hits.scores[row, : len(best)] = values
    return hits


def _scores(lists: Any, terms: NDArray[Any], weights: NDArray[Any]) -> NDArray[np.float32]:
    """Return the (n_documents,) inner products."""
    if not len(terms) or not lists.nnz:
        return np.zeros(lists.shape[0], dtype=np.float32)
    products: NDArray[np.float32] = lists[:, terms] @ weights
    return products


def _blocks(documents: Rows) -> Iterator[SparseRows]:
    waiting: list[SparseRows] = []
    for piece in documents:
        waiting.append(piece)
        if sum(len(one.terms) for one in waiting) >= BLOCK_ENTRIES:
            yield concatenate(waiting)
            waiting = []
    if waiting:
        yield concatenate(waiting)


def _lists(documents: Iterable[SparseRows], counts: NDArray[np.int64], n_documents: int) -> Any:
    """Return the inverted lists; `counts` is the number of documents of each term."""
    offsets = offsets_of(counts)
    weights = np.empty(offsets[-1], dtype=np.float32)
    rows = np.empty(offsets[-1], dtype=np.int32)
    _fill(documents, offsets[:-1].copy(), rows, weights)
    return inverted_lists(weights, rows, offsets, n_documents)


def inverted_lists(weights: Any, documents: Any, offsets: Any, n_documents: int) -> Any:
    from scipy.sparse import csc_array

    shape = (n_documents, len(offsets) - 1)
    return csc_array((weights, documents, narrowed(offsets)), shape=shape)


def _fill(
    documents: Iterable[SparseRows],
    starts: NDArray[np.int64],
    rows: NDArray[np.int32],
    weights: NDArray[np.float32],
) -> None:
    """Write every entry into its term's list, and advance `starts`, the next free slot of each."""
    position = 0
    for piece in documents:
        columns = piece.matrix().tocsc()
        counts = np.diff(columns.indptr)
        entries = rows_of_runs(starts, counts)
        rows[entries] = columns.indices + position
        weights[entries] = columns.data
        starts += counts
        position += len(piece)


def check(piece: SparseRows, position: int, width: int) -> None:
    """Raise AdapterError unless `piece`, from `position` on, is finite and has `width` entries (0:
    any)."""
    if width and piece.width != width:
        raise AdapterError(
            f"documents from position {position}: expected vectors over {width} entries,"
            f" found {piece.width}. The encoder is at fault."
        )
    weights = piece.weights
    if not is_finite(weights):
        entry = int(np.flatnonzero(~np.isfinite(weights))[0])
        bad = position + int(np.searchsorted(piece.offsets, entry, side="right")) - 1
        raise AdapterError(
            f"the vector of the document at position {bad} holds NaN or infinite weights:"
            " the encoder is at fault."
        )
