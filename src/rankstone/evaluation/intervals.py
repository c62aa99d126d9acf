"""Confidence intervals of means over queries.

A measure in [0, 1] has a score interval: Wilson's (J. American Statistical Association 22, 1927),
with the number of queries divided by the design effect, which is the variance of the values over
that of a 0/1 measure with the same mean (Korn and Graubard, Survey Methodology 24, 1998; Kish,
Survey Sampling, 1965). For 0/1 values it equals Wilson's interval. It was selected by its coverage
over distributions of nDCG, RR and success, against the percentile, BCa and studentised bootstrap
and Student's t (`tests/properties/test_coverage.py`). Values outside [0, 1] have Student's t
interval.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rankstone.arrays import Floats
from rankstone.evaluation.sign_flips import TIE

SEED = 0
LEVEL = 0.95
RESAMPLES = 1000
"""Number of bootstrap resamples, for statistics that are not means."""


class Interval(NamedTuple):
    """Ends of the interval, one entry per measure."""

    low: Floats
    high: Floats


def of_means(values: Floats) -> Interval:
    """Return the 95% interval of the mean of each column of `values` (n_queries, n_measures)."""
    ends = [_score(column) if _bounded(column) else _student(column) for column in values.T]
    return Interval(*np.array(ends, dtype=np.float64).reshape(-1, 2).T)


def _bounded(values: Floats) -> bool:
    return bool(len(values)) and values.min() >= 0 and values.max() <= 1


def _score(values: Floats) -> tuple[float, float]:
    n, mean = len(values), float(values.mean())
    widest = mean * (1 - mean)
    effect = float(values.var()) / widest if widest > 0 else 0.0
    constant = np.ptp(values) <= TIE  # the variance of equal values may be a rounding error
    zero_or_one = constant or effect > 1 - 1e-9  # constants are no more informative than 0/1
    size, z = (n, _normal()) if zero_or_one else (n / effect * (n - 1) / n, _t(n))
    middle = (mean + z**2 / (2 * size)) / (1 + z**2 / size)
    reach = z / (1 + z**2 / size) * np.sqrt(widest / size + z**2 / (4 * size**2))
    return max(middle - reach, 0.0), min(middle + reach, 1.0)


def _student(values: Floats) -> tuple[float, float]:
    n, mean = len(values), float(values.mean())
    if n < 2:
        return -np.inf, np.inf
    reach = _t(n) * float(values.std(ddof=1)) / np.sqrt(n)
    return mean - reach, mean + reach


def of_ratio(of: Floats, than: Floats) -> tuple[float, float]:
    """Return the 95% interval of the ratio of two paired means (Fieller, JRSS B 16, 1954).

    Infinite if the mean of `than` may be zero, or of one pair: then no bounded interval covers the
    ratio.
    """
    n = len(of)
    if n < 2:
        return -np.inf, np.inf
    a, b = float(of.mean()), float(than.mean())
    covariance = np.cov(of, than) / n * _t(n) ** 2
    aa, ab, bb = covariance[0, 0], covariance[0, 1], covariance[1, 1]
    if b**2 <= bb:
        return -np.inf, np.inf
    root = np.sqrt(max((a * b - ab) ** 2 - (a**2 - aa) * (b**2 - bb), 0.0))
    low, high = sorted(((a * b - ab) + sign * root) / (b**2 - bb) for sign in (-1, 1))
    return float(low), float(high)


def _normal() -> float:
    from scipy.special import ndtri

    return float(ndtri((1 + LEVEL) / 2))


def _t(n: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(n - 1, (1 + LEVEL) / 2)) if n > 1 else np.inf
