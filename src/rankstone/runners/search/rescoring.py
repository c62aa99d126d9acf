"""Re-scoring of an index's best results by the encoder's own representations."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import singledispatch
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rankstone.errors import AdapterError
from rankstone.runners.protocols import AnyIndex, Context, Hits
from rankstone.runners.representations.base import Composite
from rankstone.runners.representations.pieces import Derived, Positional
from rankstone.runners.representations.ragged import Ragged, decoded
from rankstone.runners.representations.sparse_rows import SparseRows
from rankstone.runners.saved import SavedIndex
from rankstone.runners.search.exact.maxsim import MaxSimIndex
from rankstone.runners.top_k import beneath

Scores = NDArray[np.float32]
Positions = NDArray[np.int64]


@singledispatch
def similarities(query: Any, documents: Any) -> Scores:
    """Return (len(documents),) scores for the single text in `query`; -inf if undefined."""
    raise TypeError(f"no way is registered to compare a {type(query).__name__} with documents")


@similarities.register
def _(query: np.ndarray, documents: Any) -> Scores:
    """Return inner products."""
    scores: Scores = np.asarray(documents, dtype=np.float32) @ np.asarray(query[0], np.float32)
    return scores


@similarities.register
def _(query: SparseRows, documents: SparseRows) -> Scores:
    """Return inner products."""
    return documents @ query[0]


@similarities.register
def _(query: Ragged, documents: Ragged) -> Scores:
    """Return MaxSim scores (see `rankstone.runners.search.exact.maxsim.MaxSimIndex`)."""
    scores = np.full(len(documents), -np.inf, dtype=np.float32)
    filled = np.flatnonzero(documents.lengths)
    if not len(filled) or not len(query.tokens):
        return scores
    vectors = np.asarray(decoded(documents.tokens), dtype=np.float32)
    products = vectors @ np.asarray(decoded(query.tokens), dtype=np.float32).T
    maxima = np.maximum.reduceat(products, documents.offsets[filled], axis=0)
    scores[filled] = maxima.sum(axis=1)
    return scores


@similarities.register
def _(query: Composite, documents: Any) -> Scores:
    """Return similarities for the last member, whose representations the documents are."""
    return similarities(query.members[-1], documents)


def reranking(context: Context | None, calls: int) -> AbstractContextManager[None]:
    """Charge `calls` of a black box to the phase `rerank`, unless the index is loaded."""
    return contextlib.nullcontext() if context is None else context.phase("rerank", calls)


class Scored(Protocol):
    """A corpus that a black box scores; -inf for a pair without a score."""

    def __len__(self) -> int: ...

    def scores(self, query: Any, positions: Positions) -> Scores:
        """Return (len(positions),) scores for the single text in `query`, with as many calls."""
        ...

    def against(self, queries: Any) -> Positional:
        """Return the (len(queries),) scores of each document, with len(queries) calls each."""
        ...

    def save(self, folder: Path) -> None: ...


@dataclass(frozen=True, eq=False)
class ScoredRepresentations(SavedIndex):
    """Representations scored by the similarity of their type, read from disk by position."""

    documents: Positional

    def __len__(self) -> int:
        return len(self.documents)

    def scores(self, query: Any, positions: Positions) -> Scores:
        """Return similarities; AdapterError for NaN, which is no missing similarity (-inf)."""
        if not len(positions):
            return np.empty(0, dtype=np.float32)
        scores = similarities(query, self.documents.take(positions))
        if np.isnan(scores).any():
            raise AdapterError(
                f"the similarity of the document at position {positions[np.isnan(scores)][0]} is"
                " NaN: an encoder is at fault."
            )
        return scores

    def against(self, queries: Any) -> Positional:
        return Derived(self.documents, lambda piece, _: all_similarities(queries, piece).T)


@singledispatch
def all_similarities(queries: Any, documents: Any) -> Scores:
    """Return (len(queries), len(documents)) similarities; -inf if undefined."""
    rows = [similarities(queries[row : row + 1], documents) for row in range(len(queries))]
    return np.stack(rows) if rows else np.empty((0, len(documents)), dtype=np.float32)


@all_similarities.register
def _(queries: Ragged, documents: Ragged) -> Scores:
    """Use the kernel of exact search, which lays documents out for many queries at once."""
    scores = np.full((len(queries), len(documents)), -np.inf, dtype=np.float32)
    if len(documents):
        found = MaxSimIndex.build(_OnePiece([documents])).search(queries, len(documents))
        rows, columns = np.nonzero(found.docs >= 0)
        scores[rows, found.docs[rows, columns]] = found.scores[rows, columns]
    return scores


class _OnePiece(list[Ragged]):
    def __len__(self) -> int:
        return sum(len(piece) for piece in iter(self))


@dataclass(frozen=True, eq=False)
class RescoredIndex(SavedIndex):
    """An index whose `depth` best results are re-scored and ranked above the others.

    Ties among re-scored documents, also at rank k, go to the better rank in the first index. The
    others follow in their order (see `beneath`). A document without a similarity, such as one
    without tokens, is not found. Representations are read from disk by position.
    """

    first: AnyIndex
    scored: Scored
    depth: int
    context: Context | None = None
    """Charges re-scoring to the phase `rerank`; None in a loaded index."""

    def search(self, queries: Any, k: int) -> Hits:
        found = self.first.search(queries, max(k, self.depth))
        hits = Hits(found.docs.copy(), found.scores.copy())
        pairs = int((hits.docs[:, : self.depth] >= 0).sum())
        with reranking(self.context, pairs):
            for row in range(len(queries)):
                self._rescore(queries[row : row + 1], hits.docs[row], hits.scores[row])
        return Hits(hits.docs[:, :k], hits.scores[:, :k])

    def notes(self) -> list[str]:
        """Return the notes of nested indexes and of the scorer about their results."""
        return [*super().notes(), *getattr(self.scored, "notes", list)()]

    def _rescore(self, query: Any, docs: NDArray[np.int64], scores: Scores) -> None:
        """Sort the best of one row into their new order, in place."""
        n_found = int((docs >= 0).sum())
        best = docs[: min(self.depth, n_found)]
        if not len(best):
            return
        given = self.scored.scores(query, best)
        order = np.argsort(-given, kind="stable")[: int((given > -np.inf).sum())]
        tail = docs[len(best) : n_found].copy()
        floor = float(given[order[-1]]) if len(order) else 0.0
        under = beneath(floor, scores[len(best) : n_found])
        n_kept = len(order) + len(tail)
        docs[:n_kept] = np.concatenate([best[order], tail])
        scores[:n_kept] = np.concatenate([given[order], under])
        docs[n_kept:], scores[n_kept:] = -1, -np.inf


@dataclass(frozen=True, eq=False)
class FirstMemberIndex(SavedIndex):
    """An index searched with the first part of composite representations."""

    index: AnyIndex

    def search(self, queries: Composite, k: int) -> Hits:
        return self.index.search(queries.members[0], k)
