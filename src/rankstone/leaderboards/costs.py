"""Costs of a record: location, unit, direction, and conditions for comparing two.

Costs that depend on the machine are compared within one machine fingerprint and number of threads.
A cost that covers a phase whose encodings were read from a cache does not belong to this run: it is
shown with a mark, never compared, never the best and never Pareto-optimal. An unsteady latency,
which varied more than on an idle machine, is shown with another mark.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

from rankstone.errors import ResultsError, did_you_mean
from rankstone.leaderboards.numbers import REUSED, UNSTEADY, memory_unit
from rankstone.results.record import LEAST, PARTS, Percentiles, RunRecord

BUILDING = ("encode_documents", "index")
SEARCHING = ("encode_queries", "search", "rerank")
ENCODING = ("encode_documents", "encode_queries")
FUNCTION = "SearchFunction"
"""Class, in a record, of a method that is a search function."""
SPREAD = 5.0
"""A latency is unsteady if its 95th percentile exceeds this many medians."""
BUSY_SHARE, BUSY_CORES = 0.1, 0.25
"""Load by other processes counts above this fraction of the cores and this number of busy cores."""


class Flag(NamedTuple):
    """Caveat about a figure, shown in every format."""

    mark: str
    word: str
    """Value in CSV and JSON."""
    note: str
    """Explanation below a table."""


CACHED = Flag(
    REUSED,
    "not of this run",
    f"{REUSED} encodings read from the cache: docs/s is that of the run that made them,"
    " peak RSS is without encoding; never the best",
)
VARIED = Flag(
    UNSTEADY,
    "unsteady",
    f"{UNSTEADY} unsteady: the 95th percentile is above {SPREAD:g} medians, or other processes"
    " used the machine",
)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Definition of one cost."""

    name: str
    column: str
    """Column of the leaderboard frame; empty if there is none."""
    heading: tuple[str, ...]
    """Lines of the column heading, without the unit of bytes."""
    place: str = ""
    """Path of the number in the record; empty if `compute` derives it."""
    compute: Callable[[RunRecord], float | None] | None = None
    unit: str = ""
    higher_is_better: bool = False
    ranked: bool = True
    of_machine: bool = True
    """True if it is compared only within one machine and number of threads."""
    phases: tuple[str, ...] = ()
    """Phases that it covers and that a cache can replace."""
    over_tasks: str = "mean"
    """Aggregation over tasks: `mean`, `largest` or `sum`."""
    of_functions: bool = True
    """False if it is unknown for a search function, whose phases are not visible."""
    priority: int = 0
    """0: always shown; columns with the highest value are dropped first in narrow output."""

    @property
    def title(self) -> str:
        return self.in_words(self.unit)

    @property
    def field(self) -> str:
        """Name in machine-readable tables: the figure with its unit, as in records."""
        return self.column or self.place.rpartition(".")[2]

    def of(self, record: RunRecord) -> float | None:
        """Return the figure of `record`; None if it was not measured."""
        if not self.of_functions and record.method.description.get("class") == FUNCTION:
            return None
        if self.compute is not None:
            return self.compute(record)
        value: object = record
        for part in self.place.split("."):
            value = getattr(value, part, None)
        return float(value) if isinstance(value, int | float) else None

    def flag(self, record: RunRecord) -> Flag | None:
        """Return the caveat about the figure of `record`; None if there is none."""
        if any(phase in cached_phases(record) for phase in self.phases):
            return CACHED
        part = self.place.removeprefix("profile.latency.").partition(".")[0]
        return VARIED if part in unsteady_parts(record) else None

    def without(self, labels: Sequence[str], of_all: int) -> Iterator[str]:
        """Yield a note if `labels`, out of `of_all` methods, have too few latencies."""
        least = LEAST.get(self.place.rpartition(".")[2])
        if least and labels and self.of_functions:
            of = "" if len(labels) == of_all else f" of {', '.join(labels)}"
            yield (
                f"no {self.name}{of}: below {least} independent latencies its 95% interval has no"
                " upper end"
            )

    def is_reused(self, record: RunRecord) -> bool:
        """Return True if the figure of `record` belongs to an earlier run."""
        return self.flag(record) is CACHED

    def competes(self, record: RunRecord) -> bool:
        """Return True if the figure of `record` may be the best, or Pareto-optimal."""
        return self.ranked and not self.is_reused(record)

    def in_words(self, unit: str) -> str:
        """Return the name with the unit of a column."""
        return f"{self.name}, {unit}" if unit else self.name

    def combined(self, values: Sequence[float]) -> float:
        """Aggregate the figures of several tasks."""
        if self.over_tasks == "largest":
            return max(values)
        return math.fsum(values) if self.over_tasks == "sum" else fmean(values)

    def in_unit(self, values: Sequence[float | None]) -> tuple[str, list[float | None]]:
        """Return the unit of a column, and the values in that unit."""
        if self.unit != "bytes":
            return self.unit, list(values)
        unit, size = memory_unit(values)
        return unit, [None if value is None else value / size for value in values]


def _rate(items: int | None, record: RunRecord, phases: Sequence[str]) -> float | None:
    """Return items per second over those of `phases` that were run; None if unknown."""
    seconds = sum(record.phases[name].wall_s for name in phases if name in record.phases)
    return items / seconds if items and seconds > 0 else None


def _building(record: RunRecord) -> float | None:
    """Return the seconds of building the index, without encoding; None if not timed."""
    phase = record.phases.get("index")
    return None if phase is None else phase.wall_s


def _gpu(record: RunRecord) -> float | None:
    """Return the largest GPU peak of any phase."""
    peaks = (phase.peak_gpu_bytes for phase in record.phases.values())
    return max((peak for peak in peaks if peak is not None), default=None)


def _paid(field: str) -> Callable[[RunRecord], float | None]:
    """Return a function that sums a field of API usage over all phases."""

    def total(record: RunRecord) -> float | None:
        known = [p[field] for p in record.phases.values() if p[field] is not None]
        return math.fsum(known) if known else None

    return total


# fmt: off
COSTS: tuple[Cost, ...] = (
    Cost(name="documents per second", column="documents_per_s", heading=("docs/s",), priority=3,
         compute=lambda record: _rate(record.task.n_documents, record, BUILDING),
         higher_is_better=True, phases=BUILDING, of_functions=False),
    Cost(name="queries per second", column="queries_per_s", heading=("queries/s",), priority=8,
         compute=lambda record: _rate(record.task.n_queries, record, SEARCHING),
         higher_is_better=True, phases=SEARCHING),
    Cost(name="median encoding of a query", column="encode_p50_ms", heading=("encode", "p50 ms"),
         place="profile.latency.encode.p50_ms", unit="ms", of_functions=False, priority=6),
    Cost(name="median search of a query", column="search_p50_ms", heading=("search", "p50 ms"),
         place="profile.latency.search.p50_ms", unit="ms", priority=5),
    Cost(name="median latency", column="total_p50_ms", heading=("total", "p50 ms"),
         place="profile.latency.total.p50_ms", unit="ms", priority=1),
    Cost(name="p95 latency", column="total_p95_ms", heading=("total", "p95 ms"),
         place="profile.latency.total.p95_ms", unit="ms", priority=7),
    Cost(name="p99 latency", column="total_p99_ms", heading=("total", "p99 ms"),
         place="profile.latency.total.p99_ms", unit="ms", priority=2),
    Cost(name="index", column="index_memory_bytes", heading=("index",),
         place="profile.index.memory_bytes", unit="bytes", of_machine=False, over_tasks="sum",
         priority=2),
    Cost(name="index on disk", column="index_disk_bytes", heading=("on disk",),
         place="profile.index.disk_bytes", unit="bytes", of_machine=False, over_tasks="sum",
         priority=9),
    Cost(name="bytes/doc", column="", heading=("bytes/doc",),
         place="profile.index.bytes_per_document", of_machine=False),
    Cost(name="index build", column="", heading=("build", "s"), compute=_building, unit="s",
         over_tasks="sum"),
    Cost(name="recall of exact search", column="", heading=("recall@10", "of exact"),
         place="profile.index.recall_10", higher_is_better=True, of_machine=False),
    Cost(name="peak RSS", column="peak_rss_bytes", heading=("peak RSS",),
         place="profile.peak_rss_bytes", unit="bytes", phases=ENCODING, over_tasks="largest",
         priority=4),
    Cost(name="peak GPU", column="peak_gpu_bytes", heading=("peak GPU",), compute=_gpu,
         unit="bytes", phases=ENCODING, over_tasks="largest", priority=10),
    Cost(name="share of peak FLOP/s", column="flop_utilisation", heading=("of peak", "FLOP/s"),
         place="profile.flop_utilisation", higher_is_better=True, ranked=False,
         phases=("encode_documents",), priority=11),
    Cost(name="API tokens", column="billed_tokens", heading=("API", "tokens"),
         compute=_paid("billed_tokens"), of_machine=False, ranked=False, phases=ENCODING,
         over_tasks="sum", priority=4),
    Cost(name="API price", column="price_usd", heading=("price", "$"), compute=_paid("usd"),
         unit="$", of_machine=False, phases=ENCODING, over_tasks="sum", priority=2),
)
# fmt: on
BY_NAME: Mapping[str, Cost] = {cost.name: cost for cost in COSTS}
BY_COLUMN: Mapping[str, Cost] = {cost.column: cost for cost in COSTS if cost.column}
BY_PLACE: Mapping[str, Cost] = {cost.place: cost for cost in COSTS if cost.place}
OTHERS: Mapping[str, Cost] = {**BY_NAME, **BY_COLUMN}
"""Costs by name and by column of the leaderboard frame."""
COMPARED = ("median latency", "p95 latency", "p99 latency", "peak RSS", "index")
"""Costs shown in a comparison of two records, which a gate's rule may bound."""


def named_cost(name: str) -> Cost:
    """Return the cost with that name; ResultsError if it is unknown."""
    if name not in OTHERS:
        raise ResultsError(
            f"There is no cost '{name}'.{did_you_mean(name, OTHERS)} Costs: {', '.join(BY_NAME)}"
        )
    return OTHERS[name]


class Figure(NamedTuple):
    """A cost of two records."""

    name: str
    """Name with the unit: `p95 latency, ms`."""
    of: float
    than: float
    of_mark: str = ""
    than_mark: str = ""

    @property
    def ratio(self) -> float | None:
        return self.of / self.than if self.than else None


def cached_phases(record: RunRecord) -> tuple[str, ...]:
    """Return the names of the phases whose items were read from a cache, at least in part."""
    return tuple(name for name, phase in record.phases.items() if phase.from_cache)


def unsteady_parts(record: RunRecord) -> tuple[str, ...]:
    """Return the parts of the latency that varied too much, or all if the machine was busy."""
    latency = record.latency
    if latency is None:
        return ()
    cores, busy = record.environment.cores or 1, latency.others_cores or 0.0
    if busy > max(BUSY_CORES, BUSY_SHARE * cores):
        return PARTS
    return tuple(part for part in PARTS if _is_spread(latency[part]))


def _is_spread(part: Percentiles) -> bool:
    if part.p50_ms is None or part.p95_ms is None:
        return False
    return part.p95_ms > SPREAD * part.p50_ms


def mark_of(cost: Cost, record: RunRecord) -> str:
    """Return the mark of the cost's figure; empty if it has none."""
    flag = cost.flag(record)
    return flag.mark if flag else ""


def flags_by_method(cost: Cost, records: Iterable[RunRecord]) -> dict[str, Flag]:
    """Return method -> the flag of its figure on any task, `CACHED` before others."""
    found = dict[str, Flag]()
    for record in records:
        flag = cost.flag(record)
        if flag and (record.method.name not in found or cost.is_reused(record)):
            found[record.method.name] = flag
    return found


def conditions(record: RunRecord) -> tuple[str, int | None]:
    """Return machine fingerprint and number of threads, equal for records of comparable speed."""
    return record.environment.machine, record.environment.threads


def comparable_group(cost: Cost, record: RunRecord) -> object:
    """Return a key that is equal for records whose `cost` may be compared."""
    return conditions(record) if cost.of_machine else None


def incomparable(cost: Cost, records: Iterable[RunRecord]) -> str:
    """Return the reason why `cost` of these records is not comparable; empty if it is."""
    pairs = set(map(conditions, records))
    machines = {machine for machine, _ in pairs}
    if not cost.of_machine or len(pairs) < 2:
        return ""
    if len(machines) > 1:
        return f"the records are of {len(machines)} machines"
    return f"the records are of {len(pairs)} numbers of threads"


def obstacle(cost: Cost, of: RunRecord, than: RunRecord) -> str:
    """Return the reason why `cost` of the two records is not comparable; empty if it is."""
    if comparable_group(cost, of) != comparable_group(cost, than):
        return "measured on two machines, or with different numbers of threads"
    if any(cost.is_reused(record) for record in (of, than)):
        return "encodings were read from a cache"
    return ""


def figures(of: RunRecord, than: RunRecord) -> Iterator[Figure]:
    """Yield the costs of `COMPARED` that both records have and that may be compared."""
    for cost in map(BY_NAME.__getitem__, COMPARED):
        ours, theirs = cost.of(of), cost.of(than)
        if ours is not None and theirs is not None and not obstacle(cost, of, than):
            yield Figure(cost.title, ours, theirs, mark_of(cost, of), mark_of(cost, than))


def pareto(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Return for each (cost, quality) True if it is Pareto-optimal: no other point is at least as
    good in both and better in one."""
    best, optimal = -math.inf, [False] * len(points)
    order = sorted(range(len(points)), key=lambda n: (points[n][0], -points[n][1]))
    last: tuple[float, float] | None = None
    for n in order:
        if points[n][1] > best or points[n] == last:
            optimal[n], best, last = True, points[n][1], points[n]
    return optimal


def pareto_optimal(cost: Cost, records: Sequence[RunRecord]) -> list[bool]:
    """Return for each record if it is Pareto-optimal in headline measure and `cost`.

    Records compete only with comparable ones. A record that lacks either figure, or whose cost does
    not compete, is not optimal.
    """
    groups: dict[object, dict[int, tuple[float, float]]] = {}
    for n, record in enumerate(records):
        value, quality = cost.of(record), record.headline
        if value is not None and quality is not None and cost.competes(record):
            sign = -1 if cost.higher_is_better else 1
            groups.setdefault(comparable_group(cost, record), {})[n] = (sign * value, quality.mean)
    optimal = {
        n: stands
        for points in groups.values()
        for n, stands in zip(points, pareto(list(points.values())), strict=True)
    }
    return [optimal.get(n, False) for n in range(len(records))]
