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
from rankstone.leaderboards.compare import paired_values, stored_pairs
from rankstone.results.store import ResultStore, Stored


class Setting(NamedTuple):
    """An experiment that is planned."""

    differences: tuple[float, ...]
    """Means for which queries are counted."""
    comparisons: int
    """Size of the family; each has an equal share of the level."""
    level: float


class Power(NamedTuple):
    """Power of comparisons of methods that differ as much as `of` and `than`, on one task.

    Each comparison is tested at `level` / `comparisons`, which is Bonferroni's method and the first
    step of Holm's.
    """

    task: str
    of: str
    than: str
    measure: str
    n: int
    moved: int
    """Queries on which the two differ."""
    difference: float
    """The mean of the differences that were measured."""
    deviation: float
    """Their standard deviation."""
    detectable_drop: float
    """By the one-sided test of the gate, beyond its allowance; inf where none can be."""
    detectable_difference: float
    """By the two-sided test of `compare`, the same."""
    needed: tuple[float, ...]
    """Queries for each of the given differences, two-sided; inf where unknown."""


def power_stored(
    store: ResultStore,
    of: str,
    than: str,
    setting: Setting,
    *,
    tasks: Sequence[str] | None = None,
    measure: str | None = None,
) -> list[Power]:
    """Return the power on each task that has records of both methods.

    Raises:
        ResultsError: a name or a level is wrong, or records cannot be compared.
    """
    _check(setting)
    pairs = stored_pairs(store, than, [of], tasks=tasks)
    return [power(*pair, setting, measure or pair[0][0].task.headline) for pair in pairs]


def power(of: Stored, than: Stored, setting: Setting, measure: str) -> Power:
    """Return the power of comparisons by `measure`, from the values per query of two records."""
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
    """Return the number of queries, of which the same share differs and are enough."""
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
