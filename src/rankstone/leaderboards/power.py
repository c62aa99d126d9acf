"""Power of an experiment on a task's queries, from the differences of two stored methods."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rankstone.arrays import Floats
from rankstone.errors import ResultsError
from rankstone.evaluation.power import detectable, queries_needed
from rankstone.evaluation.sign_flips import TIE, least_moved
from rankstone.leaderboards.compare import paired_values, refuse_other_data, stored_pairs
from rankstone.results.store import ResultStore, Stored


class Setting(NamedTuple):
    """Planned experiment."""

    differences: tuple[float, ...]
    """Differences of means whose required number of queries is computed."""
    comparisons: int
    """Number of comparisons; each is tested at an equal share of the level."""
    level: float


class Power(NamedTuple):
    """Power of comparisons on one task, for methods that differ as much as `of` and `than`.

    Each comparison is tested at `level` / `comparisons`: Bonferroni's method, and the first step of
    Holm's.
    """

    task: str
    of: str
    than: str
    measure: str
    n: int
    moved: int
    """Number of queries on which the two differ."""
    difference: float
    """Mean of the measured differences."""
    deviation: float
    """Standard deviation of the measured differences."""
    detectable_drop: float
    """Minimum detectable drop beyond the allowance in the gate's one-sided test; inf if none is."""
    detectable_difference: float
    """Minimum detectable difference by the two-sided test of `compare`; inf if none is."""
    needed: tuple[float, ...]
    """Queries needed for each of the given differences, two-sided; inf if unknown."""


def power_stored(
    store: ResultStore,
    of: str,
    than: str,
    setting: Setting,
    *,
    tasks: Sequence[str] | None,
    measure: str | None,
) -> list[Power]:
    """Return the power on each task that has records of both methods.

    Raises:
        ResultsError: a name or a level is wrong, or records cannot be compared.
    """
    _check(setting)
    pairs = stored_pairs(store, than, [of], tasks=tasks)
    return [power(*pair, setting, measure or pair[0][0].task.headline) for pair in pairs]


def power(of: Stored, than: Stored, setting: Setting, measure: str) -> Power:
    """Return the power of comparisons by `measure`, from the per-query values of two records.

    Raises:
        ResultsError: the records are of different data.
    """
    refuse_other_data([of[0], than[0]])
    _, ours, theirs = paired_values(of, than, measure)
    differences = np.where(np.abs(ours - theirs) <= TIE, 0.0, ours - theirs)
    n, moved = len(differences), int(np.count_nonzero(differences))
    deviation = _deviation(differences)
    share = setting.level / setting.comparisons
    one, two = (
        math.inf if moved < max(1, least_moved(side)) else detectable(deviation, n, side)
        for side in (share, share / 2)
    )
    needed = (_needed(d, deviation, share / 2, moved / n) for d in setting.differences)
    return Power(
        of[0].task.name,
        of[0].method.name,
        than[0].method.name,
        measure,
        n,
        moved,
        float(differences.mean()),
        deviation,
        one,
        two,
        tuple(needed),
    )


def _needed(difference: float, deviation: float, level: float, share: float) -> float:
    """Return the number of queries needed, assuming the same fraction of queries that differ."""
    if not share:
        return math.inf
    return max(queries_needed(difference, deviation, level), math.ceil(least_moved(level) / share))


def _deviation(differences: Floats) -> float:
    return float(differences.std(ddof=1)) if len(differences) > 1 else 0.0


def _check(setting: Setting) -> None:
    if not 0 < setting.level < 1 or setting.comparisons < 1:
        raise ResultsError("a level lies between 0 and 1, and comparisons are at least 1.")
    for difference in setting.differences:
        if not 0 < difference <= 1:
            raise ResultsError(
                f"{difference:g} is not a difference of means: give 0 < --difference ≤ 1"
            )
