"""Exact inner-product search over sparse vectors, by inverted lists."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sized
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rankstone.errors import AdapterError
from rankstone.runners.protocols import Hits
from rankstone.runners.representations.sparse_rows import SparseRows, narrowed
from rankstone.runners.top_k import highest

ARRAYS = ("weights", "documents", "offsets")


class Rows(Sized, Iterable[SparseRows], Protocol):
    """Sparse vectors of all documents as consecutive pieces; each iteration starts anew."""


class InvertedIndex:
    """For every entry of the vocabulary, the documents that have it and their weights.

    The score is the inner product, summed in float32 over the query's terms in the order of the
    vocabulary, so that a query scores the same alone and in a batch. Only documents with a score
    above zero are results: a query that shares no term with any document finds nothing. Ties, also
    across the cut at k, go to the lower position in the corpus.
    """

    DESCRIPTION = "exact inner product, inverted lists"

    def __init__(self, lists: Any) -> None:
        """Use `build` or `load`. `lists`: a scipy ``csc_array``, a column for each term."""
        self._lists = lists

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
        return cls(_lists(weights, rows, offsets, position))

    def search(self, queries: SparseRows, k: int) -> Hits:
        if len(queries) and self._lists.shape[0] and queries.width != self._lists.shape[1]:
            raise AdapterError(
                f"expected query vectors over {self._lists.shape[1]} entries, found"
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
        if not len(terms) or not self._lists.nnz:
            return np.zeros(self._lists.shape[0], dtype=np.float32)
        products: NDArray[np.float32] = self._lists[:, terms] @ weights
        return products

    def save(self, folder: Path) -> None:
        lists = self._lists
        arrays = (lists.data, lists.indices, lists.indptr)
        for name, array in zip(ARRAYS, arrays, strict=True):
            np.save(folder / f"{name}.npy", array)
        (folder / "inverted.json").write_text(json.dumps({"n_documents": lists.shape[0]}))

    @classmethod
    def load(cls, folder: Path) -> InvertedIndex:
        about = json.loads((folder / "inverted.json").read_text())
        weights, documents, offsets = (np.load(folder / f"{name}.npy") for name in ARRAYS)
        return cls(_lists(weights, documents, offsets, about["n_documents"]))

    def nbytes(self) -> int:
        """The lists; a search also holds a score for every document."""
        lists = self._lists
        return int(lists.data.nbytes + lists.indices.nbytes + lists.indptr.nbytes)


def _lists(weights: Any, documents: Any, offsets: Any, n_documents: int) -> Any:
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
        shifts = starts - columns.indptr[:-1]
        places = np.repeat(shifts, counts) + np.arange(columns.nnz)
        rows[places] = columns.indices + position
        weights[places] = columns.data
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
    if weights.size and not np.isfinite([weights.min(), weights.max()]).all():
        entry = int(np.flatnonzero(~np.isfinite(weights))[0])
        bad = position + int(np.searchsorted(piece.offsets, entry, side="right")) - 1
        raise AdapterError(
            f"the vector of the document at position {bad} holds NaN or infinite weights:"
            " the encoder is at fault."
        )
