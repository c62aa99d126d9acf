"""Agreement of two rankings of the same methods: Kendall's tau-b and Spearman's rho.

Intervals are percentiles over bootstrap resamples of the methods. A resample is given by the counts
w of each method. With the matrix S of the signs of all pairwise differences, tau-b (Kendall,
Biometrika 33, 1945) is a ratio of quadratic forms of w, and S w / 2 are the mid-ranks minus their
mean.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rankstone.arrays import Floats
from rankstone.evaluation.intervals import LEVEL, RESAMPLES, SEED


class Estimate(NamedTuple):
    value: float
    low: float
    high: float
    """Ends of the 95% interval."""


class Agreement(NamedTuple):
    """Rank agreement of two scores of the same methods."""

    n: int
    tau: Estimate
    rho: Estimate


def agreement(one: Floats, other: Floats) -> Agreement:
    """Return the agreement of two scores, each (n_methods,)."""
    n = len(one)
    draws = np.random.default_rng(SEED).multinomial(n, np.full(n, 1 / n), RESAMPLES)
    whole = np.ones((1, n))
    tau, rho = (
        Estimate(float(of(one, other, whole)[0]), *_ends(of(one, other, draws.astype(np.float64))))
        for of in (tau_b, spearman)
    )
    return Agreement(n, tau, rho)


def tau_b(one: Floats, other: Floats, draws: Floats) -> Floats:
    """Return (n_draws,) Kendall's tau-b, with method counts `draws` (n_draws, n_methods)."""
    a, b = signs(one), signs(other)
    ab, aa, bb = (np.einsum("ri,ri->r", draws @ m, draws) for m in (a * b, a * a, b * b))
    with np.errstate(invalid="ignore"):
        return np.asarray(ab / np.sqrt(aa * bb))


def spearman(one: Floats, other: Floats, draws: Floats) -> Floats:
    """Return (n_draws,) Spearman's rho; arguments as for `tau_b`."""
    a, b = (draws @ signs(values).T for values in (one, other))
    with np.errstate(invalid="ignore"):
        return np.asarray(
            (draws * a * b).sum(1) / np.sqrt((draws * a * a).sum(1) * (draws * b * b).sum(1))
        )


def signs(values: Floats) -> Floats:
    """Return the (n, n) signs of all pairwise differences."""
    return np.asarray(np.sign(values[:, None] - values[None, :]))


def _ends(values: Floats) -> tuple[float, float]:
    low, high = np.nanpercentile(values, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return float(low), float(high)
