"""Paired tests between two systems over the same queries, and their power.

Smucker, Allan, Carterette: A Comparison of Statistical Significance Tests for Information Retrieval
Evaluation, CIKM 2007, recommend the two tests here: Student's paired t and the permutation test.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from rankstone.arrays import Floats
from rankstone.evaluation.intervals import LEVEL, SEED, bootstrap

PERMUTATIONS = 9_999
"""Random sign flips where all of them are too many."""
BATCH_CELLS = 2**22
"""Signs drawn at once, which bounds the working memory."""
TIE = 1e-9
"""Largest difference that counts as none: the last bits of a measure carry no information."""
POWER = 0.8


class Ratio(NamedTuple):
    """Candidate over baseline: the geometric mean of the rounds' ratios, with its 95% interval."""

    mean: float
    low: float
    high: float


class Paired(NamedTuple):
    """Statistics of the differences of `of` to `than`, query by query.

    Attributes:
        difference: their mean.
        low, high: its 95% bootstrap interval.
        t_p: two-sided p of Student's paired t-test.
        permutation_p: two-sided p of the permutation test: each difference as likely as its
            opposite.
        effect: Cohen's d of paired samples, the mean over the standard deviation of differences; 0
            where there are none, infinite where all are equal.
        wins, ties, losses: queries on which `of` is better, equal, worse.
    """

    difference: float
    low: float
    high: float
    t_p: float
    permutation_p: float
    effect: float
    wins: int
    ties: int
    losses: int

    @property
    def n(self) -> int:
        return self.wins + self.ties + self.losses


def paired(of: Floats, than: Floats, *, seed: int = SEED, tests: bool = True) -> Paired:
    """Compare two systems on the same queries.

    Args:
        of, than: (n,) values of one measure, the same query at the same index.
        tests: False leaves the p values NaN, for who needs none and has no time.
    """
    differences = np.asarray(of, dtype=np.float64) - np.asarray(than, dtype=np.float64)
    differences[np.abs(differences) <= TIE] = 0.0
    low, high = bootstrap(differences[:, None], seed=seed)
    mean = float(differences.mean())
    t_p = permutation_p = float("nan")
    if tests:
        t_p, permutation_p = t_test(differences), permutation_test(differences, seed=seed)
    return Paired(
        mean,
        float(low[0]),
        float(high[0]),
        t_p,
        permutation_p,
        _effect(differences),
        int((differences > 0).sum()),
        int((differences == 0).sum()),
        int((differences < 0).sum()),
    )


def t_test(differences: Floats) -> float:
    """Return the two-sided p of Student's t for a mean of zero; 1 without differences."""
    from scipy.stats import ttest_1samp

    if not differences.any() or len(differences) < 2:
        return 1.0
    if np.ptp(differences) <= TIE:  # all are the same, but for last bits
        return 0.0
    return float(ttest_1samp(differences, 0.0).pvalue)


def permutation_test(
    differences: Floats,
    *,
    alternative: Literal["two-sided", "less"] = "two-sided",
    seed: int = SEED,
) -> float:
    """Return p of the sign-flip test of a mean of zero: exact for few queries, else sampled.

    Queries without a difference change nothing and are left out. `less`: of a mean below zero.
    """
    from scipy.stats import permutation_test as flipped

    moved = differences[differences != 0]
    if len(moved) < 2:  # of one difference, both signs are as far from zero
        return 0.5 if alternative == "less" and moved.sum() < 0 else 1.0
    found = flipped(
        (moved,),
        lambda values, axis: values.mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        alternative=alternative,
        n_resamples=PERMUTATIONS,
        batch=max(BATCH_CELLS // len(moved), 1),
        rng=np.random.default_rng(seed),
    )
    return float(found.pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values by Holm's step-down method (Scandinavian J. of Statistics 6, 1979).

    The i-th smallest of m values is multiplied by m - i + 1, never falls below the one before, and
    never exceeds 1.
    """
    order = np.argsort(p_values, kind="stable")
    factors = len(order) - np.arange(len(order))
    raised = np.maximum.accumulate(np.asarray(p_values, dtype=np.float64)[order] * factors)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(raised, 1.0)
    return adjusted.tolist()


def detectable(
    differences: Floats,
    *,
    level: float = 1 - LEVEL,
    least: float = 0.0,
    most: float = np.inf,
) -> float:
    """Return the minimum detectable drop: of the mean, by a one-sided paired t-test of `POWER`.

    Of differences as spread as these: (t_{1-level} + t_{power}) s / sqrt(n) with n - 1 degrees of
    freedom (Sakai, Laboratory Experiments in Information Retrieval, 2018, chapter 6), where a drop
    must also be above `least` to count, and counts without a test above `most`.
    """
    from scipy.stats import t

    n = len(differences)
    if n < 2:
        return float("inf")
    spread = float(np.std(differences, ddof=1))
    error = spread / np.sqrt(n)
    seen = min(max(t.ppf(1 - level, n - 1) * error, least), most)
    return float(seen + t.ppf(POWER, n - 1) * error)


def _effect(differences: Floats) -> float:
    mean = float(differences.mean())
    spread = float(np.std(differences, ddof=1)) if len(differences) > 1 else 0.0
    if spread == 0:
        return 0.0 if mean == 0 else float(np.copysign(np.inf, mean))
    return mean / spread


def ratio(baseline: list[float], candidate: list[float]) -> Ratio:
    """The rounds' ratios as one, by Student's t over their logarithms; at least two rounds."""
    from scipy.stats import t

    logs = np.log(np.asarray(candidate, np.float64) / np.asarray(baseline, np.float64))
    mean, n = float(logs.mean()), len(logs)
    reach = float(t.ppf(0.975, n - 1) * logs.std(ddof=1) / np.sqrt(n))
    return Ratio(*(float(np.exp(end)) for end in (mean, mean - reach, mean + reach)))
