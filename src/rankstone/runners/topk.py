"""The k best of scores that arrive in blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rankstone.runners.protocols import Hits

Positions = NDArray[Any]
"""int32 where that suffices, else int64: most of what a search holds is positions and scores."""
Ranked = tuple[Positions, NDArray[np.float32]]
ROWS = 64
"""Rows merged together: keeps what merging needs for a moment small, and in the cache."""


class RunningTop:
    """Keeps the k best documents of each query while blocks of scores come in.

    Blocks come in the order of positions. A later document must beat the k-th best score so far to
    enter, so ties go to the lower position. Entering scores are collected and merged only when
    as many are waiting as are kept, for merging costs the same whether few or many wait.
    """

    def __init__(self, n_queries: int, k: int, n_documents: int) -> None:
        self._k = k
        self._position: type[Any] = np.int32 if n_documents < 2**31 else np.int64
        self._scores = np.empty((n_queries, 0), dtype=np.float32)
        self._docs: Positions = np.empty((n_queries, 0), dtype=self._position)
        self._waiting: list[Ranked] = []
        # Kept between blocks, for fresh pages cost more than the comparison.
        self._mask = np.empty(0, dtype=np.bool_)
        self._threshold = np.full((n_queries, 1), -np.inf, dtype=np.float32)

    def add(self, scores: NDArray[np.float32], position: int) -> None:
        """Take in (n_queries, m) scores of the documents from `position` on; keep no view."""
        if np.isneginf(self._threshold[0, 0]):
            columns = np.arange(position, position + scores.shape[1], dtype=self._position)
            entering = _join([(np.broadcast_to(columns, scores.shape), scores)], self._k)
        else:
            if self._mask.size < scores.size:
                self._mask = np.empty(scores.size, dtype=np.bool_)
            mask = self._mask[: scores.size].reshape(scores.shape)
            np.greater(scores, self._threshold, out=mask)
            entering = _chosen(scores, mask, position, self._position)
        self._waiting.append(entering)
        if sum(docs.shape[1] for docs, _ in self._waiting) >= self._k:
            self._merge()

    def best(self) -> Hits:
        """(n_queries, k) in order: score descending, then position ascending; call once."""
        self._merge()
        hits = Hits(self._docs.astype(np.int64), self._scores)
        for start in range(0, len(hits.docs), ROWS):
            docs, scores = (part[start : start + ROWS] for part in hits)
            order = np.lexsort((docs, -scores), axis=1)
            docs[:] = np.take_along_axis(docs, order, 1)
            scores[:] = np.take_along_axis(scores, order, 1)
        return hits

    def _merge(self) -> None:
        if not self._waiting:
            return
        # Kept and waiting documents stand in the order of their positions, row by row.
        docs, scores = _join([(self._docs, self._scores), *self._waiting], self._k)
        self._waiting = []
        if scores.shape[1] == self._k:
            self._threshold = scores.min(axis=1, keepdims=True)
        self._docs, self._scores = docs, scores


def _chosen(
    scores: NDArray[np.float32],
    mask: NDArray[np.bool_],
    position: int,
    dtype: type[Any],
) -> Ranked:
    """Positions and scores where `mask` is true, pushed left; -1 and -inf where a row has fewer."""
    flat = np.flatnonzero(mask)
    rows = flat // scores.shape[1]
    counts = np.bincount(rows, minlength=len(scores))
    places = np.arange(len(flat)) - np.repeat(np.cumsum(counts) - counts, counts)
    shape = (len(scores), int(counts.max(initial=0)))
    docs = np.full(shape, -1, dtype=dtype)
    values = np.full(shape, -np.inf, dtype=np.float32)
    docs[rows, places] = flat - rows * scores.shape[1] + position
    values[rows, places] = scores.ravel()[flat]
    return docs, values


def _join(parts: list[Ranked], k: int) -> Ranked:
    """The k highest of each row of all `parts`, put side by side; copies."""
    width = min(sum(docs.shape[1] for docs, _ in parts), k)
    rows = len(parts[0][0])
    docs = np.empty((rows, width), dtype=parts[0][0].dtype)
    scores = np.empty((rows, width), dtype=np.float32)
    for start in range(0, rows, ROWS):
        some = slice(start, start + ROWS)
        docs[some], scores[some] = _first_best(
            np.concatenate([part[some] for part, _ in parts], axis=1),
            np.concatenate([part[some] for _, part in parts], axis=1),
            k,
        )
    return docs, scores


def _first_best(docs: Positions, scores: NDArray[np.float32], k: int) -> Ranked:
    """The k highest of each row, in the order they stand in; of equal ones the first."""
    if scores.shape[1] <= k:
        return docs, scores
    cut = np.partition(scores, scores.shape[1] - k, axis=1)[:, -k, None]
    kept = scores >= cut
    surplus = kept.sum(axis=1) - k
    for row in np.flatnonzero(surplus):
        ties = np.flatnonzero(scores[row] == cut[row])
        kept[row, ties[len(ties) - surplus[row] :]] = False
    # Two lookups by number take half the time of two by mask.
    rows, columns = np.divmod(np.flatnonzero(kept), scores.shape[1])
    return docs[rows, columns].reshape(-1, k), scores[rows, columns].reshape(-1, k)
