"""Growth of a quantity with a size, as the exponent of a power law."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rankstone.evaluation.intervals import LEVEL


class Exponent(NamedTuple):
    """An exponent with its interval; None for fewer than three sizes."""

    value: float
    low: float | None
    high: float | None


def exponent(sizes: ArrayLike, values: ArrayLike) -> Exponent:
    """Return the p of values ~ sizes^p: the slope of the logarithms, by least squares.

    The interval is Student's, of n - 2 degrees of freedom: it covers noise, and deviations from a
    power law. The exponent of a quotient of values is the difference of their exponents.
    """
    from scipy.special import stdtrit

    x, y = np.log(sizes), np.log(values)
    (slope, base), n = np.polyfit(x, y, 1), len(x)
    if n < 3:
        return Exponent(float(slope), None, None)
    squares = float(((y - slope * x - base) ** 2).sum()) / float(((x - x.mean()) ** 2).sum())
    half = float(stdtrit(n - 2, (1 + LEVEL) / 2)) * (squares / (n - 2)) ** 0.5
    return Exponent(float(slope), float(slope) - half, float(slope) + half)
