"""Hubness: a few documents are retrieved for very many queries.

Radovanović, Nanopoulos, Ivanović: Hubs in Space, JMLR 11, 2010: N_k(d) is the number of queries
with d among their k best documents. Hubs are the long right tail of the distribution of N_k; its
skewness measures hubness. Both are computed from a single run, without judgements.
"""

from __future__ import annotations

import numpy as np

from rankstone.arrays import Ints


def k_occurrence(docs: Ints, n_documents: int, k: int) -> Ints:
    """Return (n_documents,) numbers of queries that retrieve each document among their `k` best.

    Args:
        docs: (n_queries, depth) positions, best first, -1 pads; `depth` may be below `k`.
        n_documents: size of the corpus; documents that are never retrieved count as 0.
        k: number of ranks that count.
    """
    best = docs[:, :k]
    return np.bincount(best[best >= 0], minlength=n_documents)


def skewness(values: Ints) -> float:
    """Return the third standardised moment, m3 / m2^1.5, without correction for bias.

    NaN if all values are equal, or there are none: the skewness is then undefined.
    """
    if not len(values):
        return float("nan")
    centred = values - values.mean()
    variance = float((centred**2).mean())
    return float((centred**3).mean()) / variance**1.5 if variance else float("nan")
