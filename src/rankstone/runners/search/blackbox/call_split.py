"""ANNCUR's pseudo-inverse, and its split of calls between anchors and re-scored documents."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rankstone.runners.representations.pieces import Positional

Scores = NDArray[np.float32]
SHARES = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.75, 0.9)
"""Shares of the calls that are tried for anchors."""
HELD_OUT = 0.2
"""Share of the anchor queries held out to evaluate a split."""
MOST_HELD_OUT = 64
"""Most held-out queries: the scores of each for all documents are in memory."""


def best_split(
    known: Positional, n_queries: int, calls: int, k: int, rcond: float, seed: int
) -> int:
    """Return the number of anchor documents, within `calls`, with the highest mean recall.

    Recall is that of the `k` best documents of a held-out query, by its known scores, among the
    anchors and the documents ranked best by scores predicted from the other queries. Larger sets of
    anchors include smaller ones. Ties go to the smallest number.

    Args:
        known: (n_queries,) scores of each document.
    """
    rng = np.random.default_rng([seed, 1])
    held = rng.permutation(n_queries)[: min(max(round(HELD_OUT * n_queries), 1), MOST_HELD_OUT)]
    learnt = np.setdiff1d(np.arange(n_queries), held)
    order = rng.permutation(len(known))
    tried = sorted({round(share * calls) for share in SHARES} & set(range(1, len(known) + 1)))
    tried = [n for n in tried if n < calls] or [1]
    anchors = known.take(order[: tried[-1]])
    maps = [
        defined(anchors[:n, held].T) @ pseudo_inverse(anchors[:n, learnt].T, rcond) for n in tried
    ]
    exact, predicted = _of_all(known, held, learnt, maps)
    recalls = []
    for n, scores in zip(tried, predicted, strict=True):
        scores[:, order[:n]] = np.inf  # anchors are always scored
        recalls.append(_recall(exact, scores, k, calls))
    return tried[int(np.argmax(recalls))]


def _of_all(
    known: Positional,
    held: NDArray[np.int64],
    learnt: NDArray[np.int64],
    maps: list[NDArray[np.float64]],
) -> tuple[Scores, list[Scores]]:
    """Return the scores of held-out queries for all documents: known, and predicted by each map."""
    exact, predicted = [], [list[Scores]() for _ in maps]
    for piece in known:
        exact.append(piece[:, held].T)
        rows = defined(piece[:, learnt]).T
        for own, map_ in zip(predicted, maps, strict=True):
            own.append((map_ @ rows).astype(np.float32))
    return np.concatenate(exact, axis=1), [np.concatenate(own, axis=1) for own in predicted]


def _recall(exact: Scores, predicted: Scores, k: int, calls: int) -> float:
    """Return the mean recall of the `k` best by `exact` among the `calls` best by `predicted`."""
    best, found = (
        np.argsort(-scores, axis=1, kind="stable")[:, :n] for scores, n in
        ((exact, k), (predicted, calls))
    )  # fmt: skip
    return float(np.mean([np.isin(*both).mean() for both in zip(best, found, strict=True)]))


def pseudo_inverse(scores: Scores, rcond: float) -> NDArray[np.float64]:
    """Return the (k_i, k_q) pseudo-inverse of the (k_q, k_i) scores of anchors."""
    return np.linalg.pinv(defined(scores).astype(np.float64), rcond=rcond)


def defined(scores: Scores) -> Scores:
    """Replace missing scores by 0, which has no effect."""
    return np.where(np.isneginf(scores), np.float32(0), scores)
