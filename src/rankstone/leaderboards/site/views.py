"""Views: quality on one task, or means over several, for the methods that have all tasks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from rankstone.leaderboards.costs import Cost, conditions
from rankstone.leaderboards.marks import not_below
from rankstone.leaderboards.site.model import Board, Entry, Site, slug
from rankstone.leaderboards.suites import interval_of_mean, shares
from rankstone.results.record import Measure
from rankstone.specs import SuiteSpec


@dataclass(frozen=True, kw_only=True, eq=False)
class Ranked:
    """Method on one machine, with a record of every task of a view."""

    entries: Mapping[str, Entry]
    """By the name of the board."""
    mean: float
    low: float
    """Lower end of the interval; NaN if unknown."""
    high: float

    @cached_property
    def entry(self) -> Entry:
        """One of the records, for facts that all of them share."""
        return next(iter(self.entries.values()))

    @property
    def page(self) -> str:
        """Page that the method's point links to."""
        if len(self.entries) == 1:
            return self.entry.page
        return f"matrix.html#{anchor(self.entry)}"

    def cost(self, cost: Cost) -> float | None:
        """Return the cost over all tasks; None if one is unknown or has other conditions."""
        values = [cost.of(entry.record) for entry in self.entries.values()]
        known = [value for value in values if value is not None]
        if len(known) < len(values) or (cost.of_machine and len(self.conditions) > 1):
            return None
        return cost.combined(known)

    @cached_property
    def conditions(self) -> set[tuple[str, int | None]]:
        return {conditions(entry.record) for entry in self.entries.values()}

    def group(self, cost: Cost) -> object:
        """Return a key that is equal for methods whose `cost` is comparable."""
        return frozenset(self.conditions) if cost.of_machine else None

    def competes(self, cost: Cost) -> bool:
        return all(cost.competes(entry.record) for entry in self.entries.values())

    def mark(self, cost: Cost) -> str:
        """Return the mark of the method's figure, `CACHED` before others."""
        flags = [flag for e in self.entries.values() if (flag := cost.flag(e.record))]
        return min((flag.mark for flag in flags), default="")


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """Methods by quality, best first."""

    name: str
    page: str
    """Path of the view's page; empty for the start page."""
    measure: str
    """Description of the measure."""
    shares: Mapping[str, float]
    """Name of the board -> its weight in the mean."""
    rows: tuple[Ranked, ...]
    of: str | None = None
    """Measure on every task; None: the headline of each."""

    @cached_property
    def close(self) -> list[bool] | None:
        """True for each method not significantly below the best; None if it cannot be tested."""
        if not self.rows:
            return None
        best, *others = [
            {name: (e.record, e.path) for name, e in row.entries.items()} for row in self.rows
        ]
        tested = not_below(best, others, self.shares, self.of)
        return None if tested is None else [True, *tested]

    @property
    def is_mean(self) -> bool:
        return len(self.shares) > 1

    @property
    def suite(self) -> bool:
        """True for the mean of a suite, whose measure the suite defines."""
        return self.of is not None


class Views(NamedTuple):
    """All views of a site."""

    first: View | None
    """View of the start page; None without records."""
    means: Sequence[View]
    """Other views of several tasks, each with a page."""
    boards: Mapping[str, View]
    """By the name of the board."""


def views_of(site: Site, suites: Iterable[SuiteSpec]) -> Views:
    """Return the views of a site.

    The start page shows the first mean that at least half of the methods have, suites before other
    means, or else the task with most methods.
    """
    boards = {board.name: of_board(site, board) for board in site.boards}
    means = [view for view in _means(site, suites) if view.rows]
    if not boards:
        return Views(None, (), {})
    enough = [view for view in means if 2 * len(view.rows) >= len(site.cells)]
    widest = max(boards.values(), key=lambda view: len(view.rows))
    return Views(enough[0] if enough else widest, means, boards)


def anchor(entry: Entry) -> str:
    """Return the anchor of a method's row in the table of all results."""
    return slug(*entry.cell, unique=entry.cell)


def of_board(site: Site, board: Board) -> View:
    return _view(site, board.name, board.page, board.headline, {board.name: 1.0})


def _means(site: Site, suites: Iterable[SuiteSpec]) -> Iterable[View]:
    """Yield the means of suites, then the mean over the tasks that all methods have, or over all
    tasks."""
    names = [board.name for board in site.boards]
    known = list[set[str]]()
    for suite in suites:
        if suite.measures and {*suite.tasks} <= {*names}:
            known.append({*suite.tasks})
            title, page = suite.name, f"means/{slug(suite.name, unique=[suite.name])}.html"
            yield _view(site, title, page, suite.measures[0], shares(suite), suite.measures[0])
    done = [{n for n, e in row.items() if e.ok} for row in site.cells.values()]
    common = [name for name in names if all(name in row for row in done)]
    for tasks in dict.fromkeys((tuple(common), tuple(names))):
        if len(tasks) > 1 and {*tasks} not in known:
            title, page = f"mean of {len(tasks)} tasks", f"means/of-{len(tasks)}-tasks.html"
            measures = dict.fromkeys(b.headline for b in site.boards if b.name in tasks)
            words = ", ".join(measures)
            yield _view(site, title, page, words, dict.fromkeys(tasks, 1 / len(tasks)))


def _view(
    site: Site,
    name: str,
    page: str,
    words: str,
    parts: Mapping[str, float],
    measure: str | None = None,
) -> View:
    rows = [row for cells in site.cells.values() if (row := _ranked(cells, parts, measure))]
    rows.sort(key=lambda row: (-row.mean, row.entry.cell))
    return View(name=name, page=page, measure=words, shares=parts, rows=tuple(rows), of=measure)


def _ranked(
    cells: Mapping[str, Entry], parts: Mapping[str, float], measure: str | None
) -> Ranked | None:
    entries = {name: cells[name] for name in parts if name in cells and cells[name].ok}
    found = [_measure(entry, measure) for entry in entries.values()]
    measures = [one for one in found if one is not None]
    if len(measures) < len(parts):
        return None
    given = list(parts.values())
    mean = math.fsum(share * one.mean for share, one in zip(given, measures, strict=True))
    low, high = interval_of_mean(measures, given)
    return Ranked(entries=entries, mean=mean, low=low, high=high)


def _measure(entry: Entry, measure: str | None) -> Measure | None:
    return entry.record.measures.get(measure or entry.record.task.headline)


def groups(view: View, cost: Cost) -> list[Sequence[Ranked]]:
    """Return the methods with that cost, in comparable groups, the largest first."""
    found: dict[object, list[Ranked]] = {}
    for row in view.rows:
        if row.cost(cost) is not None:
            found.setdefault(row.group(cost), []).append(row)
    return sorted(found.values(), key=lambda rows: -len(rows))
