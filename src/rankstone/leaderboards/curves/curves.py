"""Data of curves: latency and throughput under load, and grids of settings of one method."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean
from typing import Any, Literal, NamedTuple

from rankstone.leaderboards.costs import BY_NAME, comparable_group
from rankstone.leaderboards.curves.sweeps import sweeps
from rankstone.leaderboards.labels import base_name, grid_names, plot_names
from rankstone.leaderboards.numbers import quality, significant
from rankstone.results.record import LoadTrial, RunRecord
from rankstone.specs import MethodSpec

Kind = Literal["load", "exact", "exact-quality"]
"""Logarithmic scales: both axes; only the vertical one; none."""
RECALL = BY_NAME["recall of exact search"]
COSTS = ("queries per second", "p99 latency", "index")
"""Costs plotted against the recall of a grid, besides the headline measure."""


class Point(NamedTuple):
    """Point of a curve; points of equal name, curve and style are joined in the order of `step`."""

    x: float
    y: float
    name: str
    text: str
    curve: str = ""
    step: float = 0.0
    style: Literal["solid", "dashed"] = "solid"


@dataclass(frozen=True, kw_only=True)
class Curves:
    """One plot."""

    kind: Kind
    x: str
    """Axis titles."""
    y: str
    points: tuple[Point, ...]
    label: str
    """Description of the plot."""

    @property
    def names(self) -> list[str]:
        return list(dict.fromkeys(point.name for point in self.points))

    def rows(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """Return the points as chart data, coloured by their index in `names`."""
        return [
            {**point._asdict(), "c": names.index(point.name), "line": f"{point.name} {point.curve}"}
            for point in self.points
        ]


def names_of(drawn: Iterable[Curves]) -> list[str]:
    """Return the names in any of the plots, sorted."""
    return sorted({name for one in drawn for name in one.names})


def of_load(records: Iterable[RunRecord]) -> Iterator[Curves]:
    """Yield latency against rate and throughput against clients, for records of one machine."""
    loaded = _of_one_machine([record for record in records if _trials(record)])
    high, names = _highest(loaded), plot_names(loaded)
    named = list(zip(names, loaded, strict=True))
    by_rate = [point for name, record in named for point in _latencies(name, record, high)]
    by_clients = [point for name, record in named for point in _throughputs(name, record)]
    if by_rate:
        yield Curves(
            kind="load",
            x="requests per second, offered",
            y=f"latency, ms: {_short(high)}, dashed p50",
            points=tuple(by_rate),
            label=f"Latency against the offered rate of {', '.join(names)}",
        )
    if by_clients:
        yield Curves(
            kind="load",
            x="clients",
            y="answered per second",
            points=tuple(by_clients),
            label=f"Throughput against clients of {', '.join(names)}",
        )


def of_grids(records: Iterable[RunRecord], methods: Mapping[str, MethodSpec]) -> Iterator[Curves]:
    """Yield costs and quality against the recall of exact search, for records of one machine.

    Args:
        methods: Definitions; exact search is included if an approximate method has its encoder.
    """
    given = [record for record in records if record.status == "ok"]
    exact = _encoders(given, methods)
    shown = _of_one_machine(
        [r for r in given if RECALL.of(r) is not None or r.method.name in exact]
    )
    if sum(RECALL.of(record) is not None for record in shown) < 2:
        return
    steps = sweeps(shown, methods)
    for cost in map(BY_NAME.__getitem__, COSTS):
        unit, values = cost.in_unit([cost.of(record) for record in shown])
        points = _recalls(shown, values, steps, cost.name, unit)
        if points:
            title = cost.in_words(unit)
            yield _against_recall("exact", title, points)
    headline = shown[0].task.headline
    values = [None if r.headline is None else r.headline.mean for r in shown]
    yield _against_recall("exact-quality", headline, _recalls(shown, values, steps, headline, ""))


def _against_recall(kind: Kind, title: str, points: Sequence[Point]) -> Curves:
    return Curves(
        kind=kind,
        x="recall@10 of exact search",
        y=title,
        points=tuple(points),
        label=f"{title} against the recall of exact search, one curve per method",
    )


def _recalls(
    records: Sequence[RunRecord],
    values: Sequence[float | None],
    steps: Mapping[str, Any],
    title: str,
    unit: str,
) -> list[Point]:
    found, curves = [], grid_names(record.method.name for record in records)
    for record, name, value in zip(records, plot_names(records), values, strict=True):
        recall, step = RECALL.of(record), steps.get(record.method.name)
        if value is not None and value > 0:
            at = 1.0 if recall is None else recall
            shown = f"{title} {significant(value)} {unit}".rstrip()
            text = f"{name}: recall {quality(at)}, {shown}"
            given = (step.curve, step.value) if step else (record.method.name, 0.0)
            curve = curves[base_name(record.method.name)]
            found.append(Point(at, value, curve, text, *given))
    return found


def _encoders(records: Iterable[RunRecord], methods: Mapping[str, MethodSpec]) -> set[str]:
    """Return the methods whose vectors the approximate methods search."""
    known = (methods.get(base_name(r.method.name)) for r in records if RECALL.of(r) is not None)
    return {member.name for spec in known if spec is not None for member in spec.members}


def _highest(records: Iterable[RunRecord]) -> str:
    """Return p99, or p95 if a trial at a fixed rate is too short for p99."""
    rated = [trial for record in records for trial in _trials(record) if trial.rate is not None]
    return "p99_ms" if all(one.latency.p99_ms is not None for one in rated) else "p95_ms"


def _short(rank: str) -> str:
    return rank.removesuffix("_ms")


def _latencies(name: str, record: RunRecord, high: str) -> Iterator[Point]:
    for rate, trials in _grouped(record, lambda trial: trial.rate):
        for rank, style in ((high, "solid"), ("p50_ms", "dashed")):
            known = [value for one in trials if (value := one.latency[rank]) is not None]
            if known:
                value = fmean(known)
                text = f"{name} at {rate:g} per s: {_short(rank)} {significant(value)} ms"
                changed = "" if all(one.same in (None, 1.0) for one in trials) else CHANGED
                yield Point(rate, value, name, text + changed, rank, rate, style)  # type: ignore[arg-type]


CHANGED = "; answers differ from a single client's"


def _throughputs(name: str, record: RunRecord) -> Iterator[Point]:
    for clients, trials in _grouped(record, lambda trial: trial.clients):
        value = fmean(one.throughput for one in trials)
        text = f"{name}, {clients:g} clients: {significant(value)} per s"
        yield Point(clients, value, name, text, "", clients)


def _grouped(record: RunRecord, key: Any) -> Iterator[tuple[float, list[LoadTrial]]]:
    known = sorted((trial for trial in _trials(record) if key(trial) is not None), key=key)
    yield from ((float(value), list(trials)) for value, trials in groupby(known, key))


def _trials(record: RunRecord) -> list[LoadTrial]:
    return record.load.trials if record.load else []


def _of_one_machine(records: Sequence[RunRecord]) -> list[RunRecord]:
    """Return the largest group of records with comparable speed."""
    groups: dict[object, list[RunRecord]] = {}
    for record in records:
        groups.setdefault(comparable_group(BY_NAME["p99 latency"], record), []).append(record)
    return max(groups.values(), key=len, default=[])
