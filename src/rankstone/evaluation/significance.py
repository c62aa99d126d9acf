"""Paired comparison of two systems on the same queries.

Smucker, Allan, Carterette: A Comparison of Statistical Significance Tests for Information Retrieval
Evaluation, CIKM 2007, recommend the permutation test, in which each difference is as likely as its
opposite. Rankstone uses it for all comparisons, its inversion for confidence intervals, and Holm's
method over all comparisons made together for adjusted p-values (see `sign_flips` and `family`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rankstone.arrays import Floats
from rankstone.evaluation.intervals import LEVEL
from rankstone.evaluation.sign_flips import TIE, bounds, p_two_sided

FEW = 10
"""Number of differing queries below which the interval's coverage is too low."""


class Ratio(NamedTuple):
    """Candidate over baseline: the geometric mean of the ratios of all rounds, with its
    interval."""

    mean: float
    low: float
    high: float


class Paired(NamedTuple):
    """Statistics of the differences `of` - `than` by query.

    Attributes:
        difference: mean difference.
        low, high: its 95% interval, the values that the sign-flip test does not reject; infinite
            for fewer than six queries.
        p: two-sided p of the sign-flip test.
        effect: Cohen's d of paired samples, the mean over the standard deviation of the
            differences; 0 if there are none, infinite if all are equal.
        wins, ties, losses: numbers of queries on which `of` is better, equal, worse.
    """

    difference: float
    low: float
    high: float
    p: float
    effect: float
    wins: int
    ties: int
    losses: int

    @property
    def n(self) -> int:
        return self.wins + self.ties + self.losses

    @property
    def few(self) -> bool:
        """True if too few queries differ for a reliable interval."""
        return 0 < self.wins + self.losses < FEW


def paired(of: Floats, than: Floats) -> Paired:
    """Compare two systems on the same queries.

    Args:
        of, than: (n,) values of one measure, with the same query at the same index.
    """
    differences = np.asarray(of, dtype=np.float64) - np.asarray(than, dtype=np.float64)
    differences[np.abs(differences) <= TIE] = 0.0
    signs = np.sign(differences)
    return Paired(
        float(differences.mean()),
        *bounds(differences, (1 - LEVEL) / 2),
        p_two_sided(differences),
        _effect(differences),
        *(int((signs == sign).sum()) for sign in (1, 0, -1)),
    )


def _effect(differences: Floats) -> float:
    mean = float(differences.mean())
    spread = float(np.std(differences, ddof=1)) if len(differences) > 1 else 0.0
    if spread == 0:
        return 0.0 if mean == 0 else float(np.copysign(np.inf, mean))
    return mean / spread


def ratio(baseline: list[float], candidate: list[float], level: float = 1 - LEVEL) -> Ratio:
    """Return the mean ratio of at least two rounds, by Student's t over the logarithms."""
    from scipy.stats import t

    logs = np.log(np.asarray(candidate, np.float64) / np.asarray(baseline, np.float64))
    mean, n = float(logs.mean()), len(logs)
    reach = float(t.isf(level / 2, n - 1) * logs.std(ddof=1) / np.sqrt(n))
    return Ratio(*(float(np.exp(end)) for end in (mean, mean - reach, mean + reach)))
