"""Two systems compared on the same queries.

Smucker, Allan, Carterette: A Comparison of Statistical Significance Tests for Information Retrieval
Evaluation, CIKM 2007, recommend the permutation test: each difference is as likely as its opposite.
Rankstone uses this test for all comparisons, its inversion for their intervals, and Holm's method
over all comparisons made together for adjusted p-values (see `sign_flips` and `family`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rankstone.arrays import Floats
from rankstone.evaluation.intervals import LEVEL
from rankstone.evaluation.sign_flips import TIE, bounds, p_two_sided

FEW = 10
"""Differing queries below which the interval of a mean difference covers it too rarely."""


class Ratio(NamedTuple):
    """Candidate over baseline: the geometric mean of the rounds' ratios, with its interval."""

    mean: float
    low: float
    high: float


class Paired(NamedTuple):
    """Statistics of the differences of `of` to `than`, query by query.

    Attributes:
        difference: their mean.
        low, high: its 95% interval, the values that the sign-flip test does not reject; infinite
            below six queries, which permit none.
        p: two-sided p of the sign-flip test.
        effect: Cohen's d of paired samples, the mean over the standard deviation of differences; 0
            where there are none, infinite where all are equal.
        wins, ties, losses: queries on which `of` is better, equal, worse.
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
        """True where too few queries differ for the interval to be trusted."""
        return 0 < self.wins + self.losses < FEW


def paired(of: Floats, than: Floats) -> Paired:
    """Compare two systems on the same queries.

    Args:
        of, than: (n,) values of one measure, the same query at the same index.
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
    """The rounds' ratios as one, by Student's t over their logarithms; at least two rounds."""
    from scipy.stats import t

    logs = np.log(np.asarray(candidate, np.float64) / np.asarray(baseline, np.float64))
    mean, n = float(logs.mean()), len(logs)
    reach = float(t.isf(level / 2, n - 1) * logs.std(ddof=1) / np.sqrt(n))
    return Ratio(*(float(np.exp(end)) for end in (mean, mean - reach, mean + reach)))
