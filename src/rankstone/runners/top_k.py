"""Selection of the best documents from scores of all documents."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rankstone.runners.protocols import Hits

GROUP = 32
"""Scores per group, whose maxima are compared first."""


def highest(scores: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return positions and values of the `k` highest scores above zero, best first.

    Ties, also at rank `k`, go to the lower position.
    """
    if k == 0:
        return np.empty(0, np.int64), np.empty(0, np.float32)
    found = _candidates(scores, k)
    values = scores[found]
    if len(found) > k:
        kept = largest(values, k)
        found, values = found[kept], values[kept]
    order = np.lexsort((found, -values))
    return found[order], values[order]


def merged(first: Hits, second: Hits, k: int) -> Hits:
    """Return the `k` best of two searches, in earlier and in later documents.

    Ties go to the first; -inf means no score.
    """
    docs = np.concatenate([first.docs, second.docs], axis=1)
    scores = np.concatenate([first.scores, second.scores], axis=1)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    kept = np.take_along_axis(scores, order, axis=1)
    found = np.where(kept > -np.inf, np.take_along_axis(docs, order, axis=1), -1)
    return Hits(found, kept)


def _candidates(scores: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Return ascending positions that include the `k` highest scores above zero and their ties.

    The `k`-th highest maximum of disjoint groups is a lower bound of the `k` highest scores.
    """
    width = len(scores) // GROUP
    if width <= k:
        return np.flatnonzero(scores > 0)
    maxima = scores[: width * GROUP].reshape(GROUP, width).max(axis=0)
    floor = np.partition(maxima, width - k)[width - k]
    if not floor > 0:
        return np.flatnonzero(scores > 0)
    inside = np.flatnonzero(maxima >= floor) + width * np.arange(GROUP)[:, None]
    found = np.append(inside, np.arange(width * GROUP, len(scores)))
    reaching: NDArray[np.int64] = found[scores[found] >= floor]
    return reaching


def largest(values: NDArray[np.float32], k: int | None) -> NDArray[np.int64]:
    """Return ascending positions of the `k` largest `values` (None: all); ties go to the lower."""
    if k is None or k >= len(values):
        return np.arange(len(values))
    least = np.partition(values, len(values) - k)[len(values) - k]
    above = np.flatnonzero(values > least)
    equal = np.flatnonzero(values == least)[: k - len(above)]
    return np.sort(np.concatenate([above, equal]))


def beneath(floor: float, scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return scores below `floor` with exactly the order and ties of `scores`, which descend."""
    step = max(1.0, 4.0 * float(np.spacing(np.float32(abs(floor)))))
    falls = np.diff(scores, prepend=np.float32(np.inf)) < 0
    return (float(floor) - step * np.cumsum(falls)).astype(np.float32)
