"""The k best documents of inverted lists, exactly, without a score for each document (MaxScore).

Turtle and Flood, IPM 31(6), 1995; over windows of documents, as Lucene's MaxScoreBulkScorer. Lists
whose highest weights add up to no more than the k-th best score so far are not read through: they
are looked up for the documents that the other lists make promising. Sums are those of a plain loop
over the query's terms, to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rankstone.runners.top_k import replace_worst

WINDOW = 4096
"""Documents whose sums are held at once: they stay in a core's first cache."""
GROUP = 64
"""Sums that are compared with the threshold together."""
FROM = 1 << 17
"""Documents from which compiling the scan, a second once in a process, is worth its time."""
ROUNDING = 1.3e-7
"""Relative error of a float32 sum, per term; twice, as partial sums have it too."""
SIGNATURE = (
    "void(int32[::1], float32[::1], int64[::1], int64[::1], float64[::1], float32[::1], int64[::1])"
)


def worthwhile(n_documents: int) -> bool:
    """True for large collections where numba is installed."""
    return n_documents >= FROM and find_spec("numba") is not None


def best(lists: Any, peaks: NDArray[np.float32], terms: NDArray[Any], k: int) -> tuple[
    NDArray[np.int64], NDArray[np.float32]
]:  # fmt: skip
    """Positions and scores of the `k` highest sums above zero, best first.

    Ties, also at rank `k`, go to the lower position.

    Args:
        lists: ``csc_array`` of weights, none negative; documents ascend in each column.
        peaks: Highest weight of each column.
        terms: Columns that are summed, each as often as it is there.
    """
    n_documents = lists.shape[0]
    scores, docs = np.zeros(k, np.float32), np.full(k, n_documents, np.int64)
    if k and len(terms):
        starts, stops = (lists.indptr[terms + end].astype(np.int64) for end in (0, 1))
        highest = peaks[terms].astype(np.float64)
        compiled()(lists.indices, lists.data, starts, stops, highest, scores, docs)
    order = np.lexsort((docs, -scores))[: np.count_nonzero(docs < n_documents)]
    return docs[order], scores[order]


@cache
def compiled() -> Callable[..., None]:
    """`scan`, compiled; other threads run meanwhile."""
    import numba
    from numba.extending import register_jitable

    for part in (replace_worst, _first, _add, _sum):
        register_jitable(part)
    made: Callable[..., None] = numba.njit(SIGNATURE, nogil=True)(scan)
    return made


def scan(
    documents: Any, weights: Any, at: Any, stops: Any, peaks: Any, scores: Any, docs: Any
) -> None:
    """Fill a heap of the best documents, whose root is the worst of them.

    Args:
        documents, weights: Of all lists, one after another.
        at, stops: Where the list of each term of the query begins and ends; `at` is changed.
        peaks: Highest weight of each.
        scores, docs: (k,) zeros, and positions behind the last document.
    """
    order = np.argsort(peaks)
    reach = np.cumsum(peaks[order])
    read = np.ones(len(at), np.bool_)
    near, sums, skipped = at.copy(), np.zeros(WINDOW, np.float32), 0
    slack = 1 - (len(at) + 2) * ROUNDING
    while True:
        first = _first(documents, at, stops, read)
        if first < 0:
            return
        _add(documents, weights, at, stops, read, first, sums)
        for group in range(0, WINDOW, GROUP):
            least = np.float32(scores[0] * slack - reach[skipped - 1]) if skipped else scores[0]
            above = 0
            for row in range(group, group + GROUP):
                above += sums[row] > least
            if above:
                for row in range(group, group + GROUP):
                    if sums[row] > least:
                        score = sums[row]
                        if skipped:
                            score = _sum(documents, weights, near, stops, first + row)
                        if score > scores[0]:
                            replace_worst(scores, docs, score, first + row)
        sums[:] = 0
        while skipped < len(order) and reach[skipped] <= scores[0] * slack:
            read[order[skipped]] = False
            skipped += 1


def _first(documents: Any, at: Any, stops: Any, read: Any) -> Any:
    """The first document that is next in one of the lists; -1 if all of them have ended."""
    first = np.int64(-1)
    for term in range(len(at)):
        if read[term] and at[term] < stops[term]:
            document = np.int64(documents[at[term]])
            if first < 0 or document < first:
                first = document
    return first


def _add(
    documents: Any, weights: Any, at: Any, stops: Any, read: Any, first: Any, sums: Any
) -> None:
    """Add the weights of the window that begins with `first`, term by term."""
    for term in range(len(at)):
        if read[term]:
            entry, stop = at[term], stops[term]
            while entry < stop and documents[entry] < first + WINDOW:
                sums[documents[entry] - first] += weights[entry]
                entry += 1
            at[term] = entry


def _sum(documents: Any, weights: Any, near: Any, stops: Any, document: Any) -> Any:
    """The score of a document; `near`, entries of documents before it, moves along."""
    score = np.float32(0)
    for term in range(len(near)):
        low, step, stop = near[term], 1, stops[term]
        while low + step < stop and documents[low + step] < document:
            low += step
            step += step
        high = min(low + step, stop)
        low += np.searchsorted(documents[low:high], document)
        if low < stop and documents[low] == document:
            score += weights[low]
        near[term] = low
    return score
