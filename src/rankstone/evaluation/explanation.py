"""Explanation of a difference from a published value by known causes and pairs of causes.

Values are computed, never fitted. If many causes are tried, some match by chance. Therefore every
explanation states the number of causes tried, and the probability that a random value is matched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal

from rankstone.evaluation.conventions.causes import STORED, Cause, Setting
from rankstone.evaluation.conventions.scores import Scores
from rankstone.evaluation.evaluate import Qrels

if TYPE_CHECKING:
    from rankstone.results.trec_run import Run as Lines

MOST_PAIRS = 20
"""Number of pairs that an explanation lists."""
MUCH = 0.5
"""Share of the gap from which a cause counts as closing part of it."""
LIKELY = 0.05
"""Probability from which a match may be chance."""

SLACK = 1e-9
"""Slack for rounding: a value exactly at the tolerance is within it."""
Verdict = Literal[
    "no gap",
    "closes the gap",
    "a pair closes the gap",
    "closes part of the gap",
    "none of the tried causes",
]


@dataclass(frozen=True, kw_only=True)
class Published:
    """A published value."""

    value: float
    tolerance: float
    """Half a unit of its last decimal."""
    source: str = ""
    """Source of the value."""
    decimals: int = 4


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """A value under one cause, or under a pair of causes."""

    causes: tuple[str, ...]
    """Names of all causes with this value, those with fewest changes first; ` + ` joins a pair."""
    value: float
    closed: float
    """Share of the gap that is closed: 1 for all of it, negative if it widens."""
    matches: bool
    """True if it rounds to the published value."""
    estimated: bool = False
    """True if it was computed on a sample of the queries."""


@dataclass(frozen=True, kw_only=True)
class Untried:
    """A cause that was not computed."""

    cause: str
    why: str
    """Its likelihood, judged from the record, or why it cannot be computed."""
    settings: tuple[str, ...] = ()
    """Changes of the method that would try it, `KEY=VALUE` each; empty if no setting does."""
    command: str = ""
    """The command that would try it."""


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """The difference from a published value, and its causes."""

    method: str
    task: str
    measure: str
    ours: float
    published: Published
    singles: tuple[Attempt, ...]
    """Causes that change the number, closest value first; causes with equal values together."""
    pairs: tuple[Attempt, ...]
    """Pairs of causes that come closer than every single cause, closest first."""
    unmoved: tuple[str, ...]
    """Causes that do not change the number."""
    n_tried: int
    n_pairs: int
    within: float
    """Distance of the nearest value to the published one, or the tolerance if that is larger."""
    chance: float
    """Probability that for a random value, as close to ours as the published one, one of the causes
    and pairs is within that distance."""
    untried: tuple[Untried, ...] = ()
    facts: tuple[str, ...] = ()
    """Statements of the record about its data and weights."""

    @property
    def gap(self) -> float:
        return self.published.value - self.ours

    @property
    def verdict(self) -> Verdict:
        if abs(self.gap) <= self.published.tolerance + SLACK:
            return "no gap"
        if any(one.matches for one in self.singles):
            return "closes the gap"
        if any(one.matches for one in self.pairs):
            return "a pair closes the gap"
        part = self.nearest is not None and self.nearest.closed >= MUCH and self.chance <= LIKELY
        return "closes part of the gap" if part else "none of the tried causes"

    @property
    def nearest(self) -> Attempt | None:
        """The value closest to the published one, if it is closer than ours; else None."""
        found = (*self.pairs[:1], *self.singles[:1])
        return next((one for one in found if one.closed > 0), None)


class Bench:
    """Values of a measure in any setting."""

    def __init__(
        self,
        runs: Mapping[str, Lines],
        judgements: Mapping[str, Qrels],
        *,
        depth: int,
        sample: Mapping[str, str] | None = None,
    ) -> None:
        """Set runs and judgements by name; those of the record have the name `STORED`.

        Args:
            sample: runs of a sample of the queries, and the name of these queries' judgements.
        """
        self._runs, self._judgements, self._depth = runs, judgements, depth
        self._sample = sample or {}
        self._scores = cache(self._scored)
        self.value = cache(self._value)

    def is_estimated(self, cause: Cause) -> bool:
        return cause.changes.get("run") in self._sample

    def _scored(self, run: str, judgements: str) -> Scores:
        return Scores(self._runs[run], self._judgements[judgements], self._depth)

    def _value(self, setting: Setting) -> float:
        part = self._sample.get(setting.run)
        if part is None:
            return self._mean(setting, setting.run, setting.judgements)
        moved = self._mean(setting, setting.run, part) - self._mean(setting, STORED, part)
        return self._mean(setting, STORED, setting.judgements) + moved

    def _mean(self, setting: Setting, run: str, judgements: str) -> float:
        return self._scores(run, judgements).mean(setting.measure, setting.rules)


Tried = list[tuple[tuple[Cause, ...], float]]
"""Causes that were applied together, and the resulting value."""


def search(
    bench: Bench, base: Setting, causes: Sequence[Cause], published: Published, **about: Any
) -> Explanation:
    """Compute the value under every cause, and, if no single cause closes the gap, under pairs of
    the causes that change it.

    Args:
        about: the other fields of the explanation.
    """
    ours = bench.value(base)
    tried: Tried = [((cause,), bench.value(base.changed(cause.changes))) for cause in causes]
    moving = [(taken, value) for taken, value in tried if abs(value - ours) > SLACK]
    singles = _attempts(moving, ours, published, bench)
    closed = any(one.matches for one in singles) or _matches(ours, published)
    pairs: Tried = [] if closed else list(_pairs(bench, base, [taken[0] for taken, _ in moving]))
    best = min((abs(one.value - published.value) for one in singles), default=abs(ours))
    nearer = [(p, v) for p, v in pairs if abs(v - published.value) < best - SLACK]
    values = [value for _, value in (*moving, *pairs)]
    distances = [abs(value - published.value) for value in values]
    within = max(published.tolerance, min(distances, default=0.0))
    return Explanation(
        ours=ours,
        published=published,
        singles=singles,
        pairs=_attempts(nearer, ours, published, bench)[:MOST_PAIRS],
        unmoved=tuple(taken[0].name for taken, value in tried if abs(value - ours) <= SLACK),
        n_tried=len(tried),
        n_pairs=len(pairs),
        within=within,
        chance=chance(values, ours, published.value, within),
        **about,
    )


def _pairs(
    bench: Bench, base: Setting, causes: Sequence[Cause]
) -> Iterator[tuple[tuple[Cause, ...], float]]:
    for one, other in combinations(causes, 2):
        if one.goes_with(other):
            changes = {**one.changes, **other.changes}
            yield (one, other), bench.value(base.changed(changes))


def _attempts(tried: Tried, ours: float, published: Published, bench: Bench) -> tuple[Attempt, ...]:
    """Return the values, nearest to the published one first, each with all its causes."""
    groups: dict[float, list[tuple[Cause, ...]]] = {}
    exact = {round(value, 9): value for _, value in tried}
    for taken, value in tried:
        groups.setdefault(exact[round(value, 9)], []).append(taken)
    found = [
        Attempt(
            causes=tuple(
                " + ".join(cause.name for cause in taken) for taken in sorted(group, key=_size)
            ),
            value=value,
            closed=1 - abs(published.value - value) / max(abs(published.value - ours), SLACK),
            matches=_matches(value, published),
            estimated=any(bench.is_estimated(cause) for taken in group for cause in taken),
        )
        for value, group in groups.items()
    ]
    return tuple(sorted(found, key=lambda one: abs(one.value - published.value)))


def _size(taken: tuple[Cause, ...]) -> int:
    return sum(len(cause.changes) for cause in taken)


def _matches(value: float, published: Published) -> bool:
    return abs(value - published.value) <= published.tolerance + SLACK


def chance(values: Sequence[float], ours: float, published: float, within: float) -> float:
    """Return the probability that a value drawn uniformly, no further from ours than the published
    one, is within the distance `within` of one of `values`.

    Draws within that distance of our value are not a gap, and are excluded.
    """
    gap = abs(published - ours)
    if gap <= within:
        return 1.0
    covered = 0.0
    for low, high in ((ours - gap, ours - within), (ours + within, ours + gap)):
        end = low
        for value in sorted(values):
            start, stop = max(value - within, end), min(value + within, high)
            if stop > start:
                covered, end = covered + stop - start, stop
    return covered / (2 * (gap - within))
