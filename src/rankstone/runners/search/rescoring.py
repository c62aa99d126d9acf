"""Re-scoring the best of an index by the encoder's own representations."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rankstone.runners.protocols import AnyIndex, Context, Hits
from rankstone.runners.representations.pieces import Positional
from rankstone.runners.representations.ragged import Ragged, decoded
from rankstone.runners.representations.sparse_rows import SparseRows
from rankstone.runners.saved import SavedIndex
from rankstone.runners.top_k import beneath

Scores = NDArray[np.float32]


@singledispatch
def similarities(query: Any, documents: Any) -> Scores:
    """(len(documents),) scores of documents for the only text of `query`; -inf where undefined."""
    raise TypeError(f"no way is registered to compare a {type(query).__name__} with documents")


@similarities.register
def _(query: np.ndarray, documents: Any) -> Scores:
    """Inner products."""
    scores: Scores = np.asarray(documents, dtype=np.float32) @ np.asarray(query[0], np.float32)
    return scores


@similarities.register
def _(query: SparseRows, documents: SparseRows) -> Scores:
    """Inner products."""
    return documents @ query[0]


@similarities.register
def _(query: Ragged, documents: Ragged) -> Scores:
    """Sums of maximal inner products (see `rankstone.runners.search.exact.maxsim.MaxSimIndex`)."""
    scores = np.full(len(documents), -np.inf, dtype=np.float32)
    filled = np.flatnonzero(documents.lengths)
    if not len(filled) or not len(query.tokens):
        return scores
    vectors = np.asarray(decoded(documents.tokens), dtype=np.float32)
    products = vectors @ np.asarray(decoded(query.tokens), dtype=np.float32).T
    maxima = np.maximum.reduceat(products, documents.offsets[filled], axis=0)
    scores[filled] = maxima.sum(axis=1)
    return scores


@dataclass(frozen=True, eq=False)
class RescoredIndex(SavedIndex):
    """Another index, the `depth` best of which are scored again and put on top.

    Ties among re-scored documents, also across the cut at k, go to the better place in the first
    index. What was not scored again keeps its order beneath (see `beneath`). A document without
    a similarity, such as one without tokens, is not found. The representations are read from disk
    by position.
    """

    first: AnyIndex
    documents: Positional
    depth: int
    context: Context | None = None
    """Charges the re-scoring to the phase `rerank`; a loaded index has none."""

    def search(self, queries: Any, k: int) -> Hits:
        found = self.first.search(queries, max(k, self.depth))
        hits = Hits(found.docs.copy(), found.scores.copy())
        pairs = int((hits.docs[:, : self.depth] >= 0).sum())
        with self.context.phase("rerank", pairs) if self.context else contextlib.nullcontext():
            for row in range(len(queries)):
                self._rescore(queries[row : row + 1], hits.docs[row], hits.scores[row])
        return Hits(hits.docs[:, :k], hits.scores[:, :k])

    def _rescore(self, query: Any, docs: NDArray[np.int64], scores: Scores) -> None:
        """Put the best of one row into their new order, in place."""
        n_found = int((docs >= 0).sum())
        best = docs[: min(self.depth, n_found)]
        if not len(best):
            return
        given = similarities(query, self.documents.take(best))
        order = np.argsort(-given, kind="stable")[: int((given > -np.inf).sum())]
        tail = docs[len(best) : n_found].copy()
        floor = float(given[order[-1]]) if len(order) else 0.0
        under = beneath(floor, scores[len(best) : n_found])
        n_kept = len(order) + len(tail)
        docs[:n_kept] = np.concatenate([best[order], tail])
        scores[:n_kept] = np.concatenate([given[order], under])
        docs[n_kept:], scores[n_kept:] = -1, -np.inf
