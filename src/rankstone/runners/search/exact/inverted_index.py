"""Exact inner-product search over sparse vectors, by inverted lists."""

from __future__ import annotations

from collections.abc import Iterable, Sized
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from rankstone.errors import AdapterError
from rankstone.runners.protocols import Hits
from rankstone.runners.representations.base import rows_of_runs
from rankstone.runners.representations.sparse_rows import SparseRows, narrowed
from rankstone.runners.saved import SavedIndex
from rankstone.runners.search.exact.flat import is_finite
from rankstone.runners.top_k import highest


class Rows(Sized, Iterable[SparseRows], Protocol):
    """Sparse vectors of all documents as consecutive pieces; each iteration starts again."""


@dataclass(frozen=True, eq=False)
class InvertedIndex(SavedIndex):
    """Documents and their weights for every entry of the vocabulary.

    The score is the inner product, summed in float32 over the query's terms in the order of the
    vocabulary, so that a query scores the same alone and in a batch. Only documents with a score
    above zero are results: a query that shares no term with any document finds nothing. Ties, also
    at rank k, go to the lower position in the corpus.
    """

    DESCRIPTION: ClassVar[str] = "exact inner product, inverted lists"

    lists: Any
    """A scipy ``csc_array``, a column for each term."""

    @classmethod
    def build(cls, documents: Rows) -> InvertedIndex:
        """Read `documents` twice, to measure the lists and to fill them.

        Memory is that of the finished index and one piece. Raises AdapterError for weights that
        are NaN or infinite, or vocabularies of different sizes.
        """
        counts: NDArray[np.int64] | None = None
        position = width = 0
        for piece in documents:
            check(piece, position, width)
            width, position = piece.width, position + len(piece)
            counted = np.bincount(piece.terms, minlength=width)
            counts = counted if counts is None else counts + counted
        offsets = np.concatenate([[0], np.cumsum(np.zeros(0, int) if counts is None else counts)])
        weights = np.empty(offsets[-1], dtype=np.float32)
        rows = np.empty(offsets[-1], dtype=np.int32)
        _fill(documents, offsets[:-1].copy(), rows, weights)
        return cls(inverted_lists(weights, rows, offsets, position))

    def search(self, queries: SparseRows, k: int) -> Hits:
        if len(queries) and self.lists.shape[0] and queries.width != self.lists.shape[1]:
            raise AdapterError(
                f"expected query vectors over {self.lists.shape[1]} entries, found"
                f" {queries.width}. The encoder must give queries and documents one vocabulary."
            )
        hits = Hits.empty(len(queries), k)
        for row, (terms, weights) in enumerate(queries.rows()):
            best, values = highest(self._scores(terms, weights), k)
            hits.docs[row, : len(best)] = best
            hits.scores[row, : len(best)] = values
        return hits

    def _scores(self, terms: NDArray[Any], weights: NDArray[Any]) -> NDArray[np.float32]:
        """(n_documents,) inner products."""
        if not len(terms) or not self.lists.nnz:
            return np.zeros(self.lists.shape[0], dtype=np.float32)
        products: NDArray[np.float32] = self.lists[:, terms] @ weights
        return products

    def nbytes(self) -> int:
        """The lists; a search also holds a score for every document."""
        return super().nbytes()


def inverted_lists(weights: Any, documents: Any, offsets: Any, n_documents: int) -> Any:
    from scipy.sparse import csc_array

    shape = (n_documents, len(offsets) - 1)
    return csc_array((weights, documents, narrowed(offsets)), shape=shape)


def _fill(
    documents: Rows,
    starts: NDArray[np.int64],
    rows: NDArray[np.int32],
    weights: NDArray[np.float32],
) -> None:
    """Write every entry into its term's list; `starts`, where the next goes, moves along."""
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
    """Raise AdapterError unless `piece`, which begins at `position`, is over `width` entries, or
    any where that is 0, and finite."""
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
