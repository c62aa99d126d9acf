"""Hubness: a few documents are retrieved for far too many queries.

Radovanović, Nanopoulos, Ivanović: Hubs in Space, JMLR 11, 2010: N_k(d) is the number of queries
that have d among their k best. A distribution of N_k with a long right tail has hubs; its skewness
measures this. Both are computed from one run, without judgements.
"""

from __future__ import annotations

import numpy as np

from rankstone.arrays import Ints


def k_occurrence(docs: Ints, n_documents: int, k: int = 10) -> Ints:
    """Count the queries that retrieve each document among their `k` best, (n_documents,).

    Args:
        docs: (n_queries, depth) positions, best first, -1 pads; `depth` may be below `k`.
        n_documents: size of the corpus; documents that are never retrieved count as 0.
        k: ranks that count.
    """
    best = docs[:, :k]
    return np.bincount(best[best >= 0], minlength=n_documents)


def skewness(values: Ints) -> float:
    """Return the third standardised moment, m3 / m2^1.5, without correction for bias.

    NaN where all values are equal, or there are none: such a distribution has no shape.
    """
    if not len(values):
        return float("nan")
    centred = values - values.mean()
    variance = float((centred**2).mean())
    return float((centred**3).mean()) / variance**1.5 if variance else float("nan")
