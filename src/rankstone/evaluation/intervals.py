"""Intervals around means: percentile bootstrap over queries (Efron & Tibshirani 1993, ch. 13)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rankstone.arrays import Floats

RESAMPLES = 1000
SEED = 0
LEVEL = 0.95

BLOCK_DRAWS = 2**19
"""Queries drawn at once, which bounds the working memory at about 12 MB."""


class Interval(NamedTuple):
    """Ends of the interval, one entry per measure."""

    low: Floats
    high: Floats


def bootstrap(values: Floats, *, seed: int = SEED) -> Interval:
    """Return the 95% interval of the mean of each column of `values` (n_queries, n_measures).

    All measures share the resamples, so a column's interval does not depend on its company.
    """
    n = len(values)
    columns = np.ascontiguousarray(values.T)
    rng = np.random.default_rng(seed)
    rows = max(1, BLOCK_DRAWS // n)
    sizes = (min(rows, RESAMPLES - start) for start in range(0, RESAMPLES, rows))
    means = [_means(rng, columns, size) for size in sizes]
    tail = 50 * (1 - LEVEL)
    low, high = np.percentile(np.concatenate(means), [tail, 100 - tail], axis=0)
    return Interval(low, high)


def _means(rng: np.random.Generator, columns: Floats, rows: int) -> Floats:
    """Return (rows, n_measures) means of resamples, by the number of times each query was drawn."""
    n = columns.shape[1]
    drawn = rng.integers(n, size=(rows, n))
    drawn += np.arange(rows)[:, None] * n
    counts = np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float64)
    # einsum by column, not BLAS: sums depend on neither the number of threads nor of columns.
    sums = [np.einsum("rq,q->r", counts, column) for column in columns]
    means: Floats = np.stack(sums, axis=1) / n
    return means
