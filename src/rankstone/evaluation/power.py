"""Power of paired tests: what a number of queries can show, and the number that shows a difference.

Of n differences with standard deviation s, a t-test at `level` finds a mean of

    (t_{1-level} + t_{power}) s / sqrt(n),    n - 1 degrees of freedom,

with probability `power` (Sakai, Laboratory Experiments in Information Retrieval, 2018, chapter 6),
and the sign-flip test about as often. Where k queries differ the sign-flip test has no p below
2^-k, however large the differences.
"""

from __future__ import annotations

import math

from scipy.special import stdtrit

from rankstone.evaluation.sign_flips import least_moved

POWER = 0.8
LARGEST = 10**9
"""Queries beyond which a number is unknown."""


def detectable(deviation: float, n: int, level: float, power: float = POWER) -> float:
    """Return the mean of `n` differences that a one-sided test shows with that probability.

    Args:
        deviation: standard deviation of the differences.
        level: of one side; half the level of a two-sided test.
    """
    if n < 2 or n < least_moved(level):
        return math.inf
    quantiles = -stdtrit(n - 1, level) + stdtrit(n - 1, power)
    return float(quantiles * deviation / math.sqrt(n))


def queries_needed(
    difference: float, deviation: float, level: float, power: float = POWER
) -> float:
    """Return the least number of queries of which `difference` is detectable; inf beyond 10^9."""
    low, high = 1, 2
    while detectable(deviation, high, level, power) > difference:
        low, high = high, 2 * high
        if high > LARGEST:
            return math.inf
    while high - low > 1:
        middle = (low + high) // 2
        enough = detectable(deviation, middle, level, power) <= difference
        low, high = (low, middle) if enough else (middle, high)
    return high
