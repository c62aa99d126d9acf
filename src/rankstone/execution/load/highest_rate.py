"""Rates tried in the search for the highest that passes: doubled or halved, then bisected."""

from __future__ import annotations

import math
from collections.abc import Callable

STEPS = 8
"""Maximum number of doublings or halvings until both a passing and a failing rate are known."""
CLOSE = 1.05
"""Ratio of a failing to a passing rate at which the search ends."""


def rates_to_try(
    passes: Callable[[float], bool], first: float, most: float = math.inf
) -> tuple[float, float]:
    """Return the highest passing and the lowest failing rate of a bisection on the log scale.

    They are 0 and infinite if no rate passed or failed. `passes` is called with each rate, starting
    with `first`; no rate exceeds `most`.
    """
    low, high, rate = 0.0, math.inf, min(first, most)
    for _ in range(STEPS):
        if passes(rate):
            low, rate = rate, min(rate * 2, most)
        else:
            high, rate = rate, rate / 2
        if (low and high < math.inf) or low == most:
            break
    while low and high < math.inf and high > CLOSE * low:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if passes(middle) else (low, middle)
    return low, high
