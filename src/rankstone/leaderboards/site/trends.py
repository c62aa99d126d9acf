"""Trends: figures of one method on one task over commits, from records of several folders."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

from rankstone.errors import ResultsError
from rankstone.evaluation.significance import Paired, paired
from rankstone.leaderboards import compare
from rankstone.leaderboards.costs import BY_NAME, Cost, conditions, mark_of
from rankstone.leaderboards.numbers import UNKNOWN, flagged, interval, quality
from rankstone.leaderboards.site.environment import p_value, render, signed
from rankstone.leaderboards.site.model import Entry, Site
from rankstone.leaderboards.site.vega import Plot, rounded
from rankstone.results.record import RunRecord
from rankstone.results.store import Stored

COSTS = [
    BY_NAME[name]
    for name in ("median latency", "p95 latency", "documents per second", "index", "peak RSS")
]
SHORT = 7
"""Number of digits shown of a commit."""


class Step(NamedTuple):
    """Change from one record to the next, or the reason why it cannot be tested."""

    change: float
    tested: Paired | None
    reason: str

    @property
    def text(self) -> str:
        if self.tested is None:
            return signed(self.change)
        if not self.tested.wins + self.tested.losses:
            return "no query changed"
        ends = f"{signed(self.tested.low)} to {signed(self.tested.high)}"
        return f"{signed(self.change)} ({ends})"

    @property
    def p(self) -> str:
        return UNKNOWN if self.tested is None else p_value(self.tested.p)


@dataclass(frozen=True, kw_only=True, eq=False)
class Trend:
    """Two or more records of one method on one task, data and machine, oldest first."""

    entry: Entry
    """Entry of the newest record, or of the one that represents it on the site."""
    stored: tuple[Stored, ...]

    @property
    def records(self) -> list[RunRecord]:
        return [record for record, _ in self.stored]

    @property
    def page(self) -> str:
        return self.entry.page.replace("records/", "trends/", 1)

    @property
    def headline(self) -> str:
        return self.entry.record.task.headline

    @cached_property
    def steps(self) -> list[Step]:
        return [_step(before, after, self.headline) for before, after in pairwise(self.stored)]

    @cached_property
    def whole(self) -> Step:
        """Change from the first record to the last."""
        return _step(self.stored[0], self.stored[-1], self.headline)

    @property
    def name(self) -> str:
        return f"{self.entry.name} on {self.entry.record.task.name}"

    @property
    def span(self) -> str:
        first, last = (_day(record) for record in (self.records[0], self.records[-1]))
        return first if first == last else f"{first} to {last}"


def trends_of(site: Site, history: Iterable[Stored]) -> list[Trend]:
    """Return the trends of the site's entries that have further records in `history`.

    Records without the headline of the entry, as of earlier definitions, are left out.
    """
    found: dict[object, dict[tuple[str, str], Stored]] = {}
    entries = {_cell(entry.record): entry for entry in site.entries if entry.ok}
    current = [(entry.record, entry.path) for entry in entries.values()]
    for record, path in (*history, *current):
        entry = entries.get(_cell(record))
        if entry and record.status == "ok" and entry.record.task.headline in record.measures:
            moment = record.provenance.finished, record.key
            found.setdefault(_cell(record), {})[moment] = record, path
    return [
        Trend(entry=entry, stored=tuple(stored for _, stored in sorted(found[cell].items())))
        for cell, entry in entries.items()
        if len(found.get(cell, ())) > 1
    ]


def trends_page(site: Site, trends: Sequence[Trend]) -> str:
    """Return the list of all trends, or instructions to get some."""
    return render("trends.html", "trends.html", site=site, trends=trends)


def trend_page(site: Site, trend: Trend) -> str:
    records = trend.records
    known = [cost for cost in COSTS if any(cost.of(record) is not None for record in records)]
    return render(
        "trend.html",
        trend.page,
        site=site,
        trend=trend,
        main=list(_tiles(trend)),
        plots=list(_plots(trend, known)),
        heads=["measured", "commit", trend.headline, "95% interval", "change from previous (95%)",
               "p", *(_unit(cost, records) for cost in known)],
        rows=list(_rows(trend, known)),
        flags=_flags(records, known),
        changes=list(_changes(trend)),
    )  # fmt: skip


def _cell(record: RunRecord) -> object:
    data = tuple(sorted(record.task.sha256.items()))
    return record.task.name, data, record.method.name, *conditions(record)


def _step(before: Stored, after: Stored, measure: str) -> Step:
    means = [record.measures[measure].mean for record, _ in (after, before)]
    change = means[0] - means[1]
    try:
        _, ours, theirs = compare.paired_values(after, before, measure)
    except ResultsError as error:
        return Step(change, None, str(error))
    return Step(change, paired(ours, theirs), "")


def _tiles(trend: Trend) -> Iterator[tuple[str, str, str]]:
    last = trend.records[-1].measures[trend.headline]
    yield trend.headline, quality(last.mean), f"95%: {interval(last.low, last.high)}"
    for name, step in (("since the previous", trend.steps[-1]), ("since the first", trend.whole)):
        remark = f"p {step.p}" if step.tested else "not tested"
        yield f"change {name}", signed(step.change), remark


def _plots(trend: Trend, costs: Iterable[Cost]) -> Iterator[Plot]:
    records, at = trend.records, _labels(trend.records)
    rows = [
        (record.measures[trend.headline].mean, _ends(record, trend.headline)) for record in records
    ]
    yield _plot(trend, trend.headline, at, rows)
    for cost in costs:
        unit, values = cost.in_unit([cost.of(record) for record in records])
        size = next((cost.of(r) or 0) / v for r, v in zip(records, values, strict=True) if v)
        spans = [_cost_ends(cost, record, size) for record in records]
        title = cost.in_words(unit)
        yield _plot(trend, title, at, list(zip(values, spans, strict=True)))


def _plot(
    trend: Trend,
    title: str,
    at: Sequence[str],
    rows: Sequence[tuple[float | None, tuple[float, float] | None]],
) -> Plot:
    return Plot(
        kind="trend",
        rows=[
            {"at": label, "value": rounded(value)}
            | dict(zip(("low", "high"), map(rounded, ends), strict=True))
            for label, (value, given) in zip(at, rows, strict=True)
            if value is not None and (ends := given or (value, value))
        ],
        label=f"{title} of {trend.name}, record by record, as in the table",
        caption=title,
    )  # fmt: skip


def _ends(record: RunRecord, measure: str) -> tuple[float, float] | None:
    found = record.measures[measure]
    return None if found.low is None or found.high is None else (found.low, found.high)


def _cost_ends(cost: Cost, record: RunRecord, size: float) -> tuple[float, float] | None:
    """Return the 95% interval of a latency percentile; other costs have none."""
    *_, part, point = ("", *cost.place.split("."))
    latency = record.latency
    if latency is None or not cost.place.startswith("profile.latency."):
        return None
    ends = latency[part].intervals.get(point)
    return ends and (ends[0] / size, ends[1] / size)


def _rows(trend: Trend, costs: Sequence[Cost]) -> Iterator[list[str]]:
    columns = [
        [
            flagged(value, mark_of(cost, record))
            for record, value in zip(
                trend.records, cost.in_unit([cost.of(r) for r in trend.records])[1], strict=True
            )
        ]
        for cost in costs
    ]
    for n, record in enumerate(trend.records):
        measure = record.measures[trend.headline]
        step = trend.steps[n - 1] if n else None
        yield [
            _moment(record),
            _commit(record),
            quality(measure.mean),
            interval(measure.low, measure.high),
            step.text if step else "",
            step.p if step else "",
            *(column[n] for column in columns),
        ]


def _unit(cost: Cost, records: Sequence[RunRecord]) -> str:
    unit, _ = cost.in_unit([cost.of(record) for record in records])
    return " ".join((*cost.heading, unit if cost.unit == "bytes" else ""))


def _flags(records: Sequence[RunRecord], costs: Sequence[Cost]) -> list[str]:
    flags = (cost.flag(record) for cost in costs for record in records)
    return list(dict.fromkeys(flag.note for flag in flags if flag is not None))


def _changes(trend: Trend) -> Iterator[tuple[str, list[str]]]:
    """Yield each record with its other changes since the previous one."""
    for (before, _), (after, _), step in zip(
        trend.stored, trend.stored[1:], trend.steps, strict=False
    ):
        found = [*compare.obstacles(after, before), *_other_changes(before, after)]
        if step.reason:
            found.append(step.reason)
        if found:
            yield f"{_day(after)} {_commit(after)}", found


def _other_changes(before: RunRecord, after: RunRecord) -> Iterator[str]:
    if before.method.digest != after.method.digest:
        yield "the definition of the method changed"
    old, new = before.environment, after.environment
    if old.seed != new.seed:
        yield f"the seed changed from {old.seed} to {new.seed}"
    for name in sorted(old.packages.keys() | new.packages.keys()):
        versions = [packages.get(name, "absent") for packages in (old.packages, new.packages)]
        if versions[0] != versions[1]:
            yield f"{name} changed from {versions[0]} to {versions[1]}"


def _labels(records: Sequence[RunRecord]) -> list[str]:
    """Return distinct labels of the records: commits, else dates, else timestamps."""
    commits = [(record.environment.git_commit or "")[:SHORT] for record in records]
    days = [_day(record) for record in records]
    moments = [_moment(record)[5:16] for record in records]
    for labels in (commits, days, moments):
        if all(labels) and len(set(labels)) == len(labels):
            return labels
    return [f"{n}: {day}" for n, day in enumerate(days, 1)]


def _commit(record: RunRecord) -> str:
    here = record.environment
    commit = (here.git_commit or UNKNOWN)[:SHORT]
    return f"{commit} + uncommitted" if here.git_dirty else commit


def _moment(record: RunRecord) -> str:
    return record.provenance.finished.replace("T", " ").removesuffix("Z")


def _day(record: RunRecord) -> str:
    return record.provenance.finished[:10]
