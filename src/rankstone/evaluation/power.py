"""Power of paired tests: detectable differences, and the number of queries that a test needs.

For n differences with standard deviation s, a t-test at `level` detects a mean of

    (t_{1-level} + t_{power}) s / sqrt(n),    n - 1 degrees of freedom,

with probability `power` (Sakai, Laboratory Experiments in Information Retrieval, 2018, chapter 6);
the sign-flip test has about the same power. If only k queries differ, p of the sign-flip test is at
least 2^-k, however large the differences.
"""

from __future__ import annotations

import math

from rankstone.evaluation.sign_flips import least_moved

POWER = 0.8
LARGEST = 10**9
"""Number of queries beyond which the result is infinite."""


def detectable(deviation: float, n: int, level: float) -> float:
    """Return the mean of `n` differences that a one-sided test detects with the power `POWER`.

    Args:
        deviation: standard deviation of the differences.
        level: level of one side; half the level of a two-sided test.
    """
    from scipy.special import stdtrit

    if n < 2 or n < least_moved(level):
        return math.inf
    quantiles = -stdtrit(n - 1, level) + stdtrit(n - 1, POWER)
    return float(quantiles * deviation / math.sqrt(n))


def queries_needed(difference: float, deviation: float, level: float) -> float:
    """Return the least number of queries with which `difference` is detectable; inf above 10^9."""
    low, high = 1, 2
    while detectable(deviation, high, level) > difference:
        low, high = high, 2 * high
        if high > LARGEST:
            return math.inf
    while high - low > 1:
        middle = (low + high) // 2
        enough = detectable(deviation, middle, level) <= difference
        low, high = (low, middle) if enough else (middle, high)
    return high
