"""Defined leaderboards: `leaderboards/*.toml`, methods by tasks, with costs beside the quality.

A board is a pure function of records. It shows one measure of every task, the mean over them where
no cell is missing, and what each method costs; the best is marked, the second best, and which
methods a value is significantly above of.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from rankstone.errors import ResultsError, did_you_mean
from rankstone.evaluation.significance import holm, permutation_test
from rankstone.leaderboards.compare import FIGURES, INDEX_BYTES, number_at, obstacles, paired_values
from rankstone.leaderboards.numbers import memory_unit, quality, significant
from rankstone.leaderboards.suites import mean_of
from rankstone.results.record import RunRecord
from rankstone.results.store import Stored
from rankstone.specs import MethodSpec, SuiteSpec
from rankstone.strict import Spec, chosen, load_folder

Mark = Literal["", "best", "second"]
LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Cost:
    """A column of cost: where it stands in a record, and how tasks are put together."""

    place: tuple[str, ...]
    over_tasks: Callable[[Sequence[float]], float]
    unit: str = ""
    bound: bool = True
    """Whether it depends on the machine."""
    says: str = "mean"


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


COSTS: dict[str, Cost] = {
    "median latency": Cost(FIGURES["median latency, ms"], _mean, "ms"),
    "p95 latency": Cost(FIGURES["p95 latency, ms"], _mean, "ms"),
    "p99 latency": Cost(FIGURES["p99 latency, ms"], _mean, "ms"),
    "peak RSS": Cost(FIGURES["peak RSS, bytes"], max, "bytes", says="largest"),
    "index": Cost(INDEX_BYTES, math.fsum, "bytes", False, "sum"),
    "bytes/doc": Cost(("profile", "index", "bytes_per_document"), _mean, "", False),
}


class TableSpec(Spec):
    """One board: the content of `leaderboards/<name>.toml`."""

    name: str
    title: str
    records: str = ""
    """Folder of the records, below the workspace; empty: those of the command."""
    tasks: tuple[str, ...] = Field(min_length=1)
    """Tasks, or suites, which stand for their tasks."""
    methods: tuple[str, ...] = ()
    """Only these, in full; empty: all that have a record."""
    families: tuple[str, ...] = ()
    licences: tuple[str, ...] = ()
    """Only methods whose weights have one of these licences."""
    machine: str | None = None
    measure: str | None = None
    """None: each task's headline."""
    mean: bool = True
    """A column with the mean over the tasks; of one suite, as the suite itself averages."""
    costs: tuple[str, ...] = ()
    intervals: bool = False
    significance: bool = False
    """Letters of the methods that a value is significantly above of."""
    level: float = Field(default=0.05, gt=0, lt=1)
    sort: str = "mean"
    """`mean`, `method`, a task, or a cost."""

    @model_validator(mode="after")
    def _columns_are_known(self) -> TableSpec:
        for name in self.costs:
            if name not in COSTS:
                raise ValueError(f"no cost '{name}'.{did_you_mean(name, COSTS)}")
        known = {"mean", "method", *self.costs, *self.tasks}
        if self.sort not in known:
            raise ValueError(f"no column '{self.sort}' to sort by.{did_you_mean(self.sort, known)}")
        return self


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One cell."""

    value: float | None = None
    text: str = ""
    mark: Mark = ""
    above: str = ""
    """Letters of the methods it is significantly above of."""
    interval: str = ""


@dataclass(frozen=True, kw_only=True)
class Board:
    """What a table shows, before it is drawn."""

    title: str
    heads: tuple[str, ...]
    """Of the columns after the method."""
    rows: tuple[tuple[str, tuple[Entry, ...]], ...]
    letters: Mapping[str, str] = field(default_factory=dict)
    """Method -> its letter, where significance is shown."""
    notes: tuple[str, ...] = ()


def load_tables(folder: Path) -> dict[str, TableSpec]:
    """All boards of `leaderboards/`, by name."""
    return load_folder(TableSpec, folder)


def chosen_table(known: Mapping[str, TableSpec], name: str) -> TableSpec:
    """The board of that name, or a DefinitionError with near ones."""
    return chosen(known, [name], "Leaderboard")[0]


def board(
    spec: TableSpec,
    stored: Iterable[Stored],
    *,
    tasks: Sequence[str],
    suite: SuiteSpec | None = None,
    methods: Mapping[str, MethodSpec] | None = None,
) -> Board:
    """The board of `spec` over records.

    Args:
        tasks: `spec.tasks` with suites replaced by their tasks.
        suite: where `spec.tasks` is this one suite, whose own mean is shown.
        methods: definitions by name, for the licences; a method without one has none.
    """
    cells = _cells(spec, stored, tasks, methods or {})
    names = list(dict.fromkeys(method for method, _ in cells))
    columns = {task: _quality(spec, names, task, cells) for task in tasks}
    notes: list[str] = []
    above = _above(spec, names, tasks, cells, notes) if spec.significance else {}
    heads, entries = [], list[list[Entry]]()
    for task, values in columns.items():
        heads.append(task)
        entries.append(
            [
                _entry(
                    values[name],
                    quality,
                    above.get((name, task), ""),
                    *_ends(spec, cells, name, task),
                )
                for name in names
            ]
        )
    if spec.mean and len(tasks) > 1:
        heads.append("mean")
        entries.append(
            [_entry(v, quality) for v in _means(spec, names, cells, columns, suite, notes)]
        )
    for cost in spec.costs:
        head, column = _cost(cost, names, tasks, cells, notes)
        heads.append(head)
        entries.append(column)
    lower = len(heads) - len(spec.costs)
    marked = [_marked(column, lowest=n >= lower) for n, column in enumerate(entries)]
    order = _order(spec, names, heads, marked)
    rows = tuple((names[n], tuple(column[n] for column in marked)) for n in order)
    letters = {name: LETTERS[n % 26] for n, name in enumerate(names)} if spec.significance else {}
    return Board(
        title=spec.title,
        heads=tuple(_unique(heads)),
        rows=rows,
        letters=letters,
        notes=tuple(dict.fromkeys([*_legend(spec, cells), *notes])),
    )


Cells = dict[tuple[str, str], Stored]


def _cells(
    spec: TableSpec,
    stored: Iterable[Stored],
    tasks: Sequence[str],
    methods: Mapping[str, MethodSpec],
) -> Cells:
    """(method, task) -> the newest good record that the filters let through."""
    found: Cells = {}
    for record, path in sorted(stored, key=lambda one: str(one[0].provenance.finished)):
        method = record.method.name
        licence = methods[method].licence if method in methods else ""
        if (
            record.status == "ok"
            and record.task.name in tasks
            and (not spec.methods or method in spec.methods)
            and (not spec.families or method.rpartition("/")[0] in spec.families)
            and (not spec.licences or licence in spec.licences)
            and (spec.machine is None or record.environment.machine == spec.machine)
        ):
            found[method, record.task.name] = record, path
    order = {name: n for n, name in enumerate(spec.methods)}
    return dict(sorted(found.items(), key=lambda item: (order.get(item[0][0], 0), item[0])))


def _measure(spec: TableSpec, record: RunRecord) -> str:
    return spec.measure or record.task.headline


def _quality(
    spec: TableSpec, names: Sequence[str], task: str, cells: Cells
) -> dict[str, float | None]:
    values: dict[str, float | None] = {}
    for name in names:
        record = cells[name, task][0] if (name, task) in cells else None
        found = record.measures.get(_measure(spec, record)) if record else None
        values[name] = found.mean if found else None
    return values


def _ends(spec: TableSpec, cells: Cells, name: str, task: str) -> tuple[float, ...]:
    stored = cells.get((name, task))
    found = stored[0].measures.get(_measure(spec, stored[0])) if stored else None
    if not spec.intervals or found is None or found.low is None or found.high is None:
        return ()
    return found.low, found.high


def _entry(
    value: float | None, text: Callable[[float | None], str], above: str = "", *ends: float
) -> Entry:
    interval = f"{quality(ends[0])}–{quality(ends[1])}" if ends else ""
    known = None if value is None or math.isnan(value) else value
    return Entry(value=known, text=text(known), above=above, interval=interval)


def _means(
    spec: TableSpec,
    names: Sequence[str],
    cells: Cells,
    columns: Mapping[str, Mapping[str, float | None]],
    suite: SuiteSpec | None,
    notes: list[str],
) -> list[float | None]:
    """A mean over what happens to be there would be another figure: it stays empty, and why."""
    means: list[float | None] = []
    for name in names:
        missing = [task for task, values in columns.items() if values[name] is None]
        if missing:
            shown = ", ".join(missing[:3]) + (", …" if len(missing) > 3 else "")
            notes.append(f"{name}: no mean, for there is no record on {shown}")
            means.append(None)
        elif suite is not None and spec.measure is not None:
            own = {task: cells[name, task][0] for task in columns}
            means.append(mean_of(suite, spec.measure, own))
        else:
            means.append(
                _mean([v for values in columns.values() if (v := values[name]) is not None])
            )
    return means


def _cost(
    name: str, names: Sequence[str], tasks: Sequence[str], cells: Cells, notes: list[str]
) -> tuple[str, list[Entry]]:
    """The head and the column of a cost, over all tasks together."""
    cost = COSTS[name]
    machines = {stored[0].environment.machine for stored in cells.values()}
    if cost.bound and len(machines) > 1:
        notes.append(f"{name} is not compared: the records are of {len(machines)} machines")
        return name, [Entry() for _ in names]
    values: list[float | None] = []
    for method in names:
        found = [number_at(cells[method, t][0], cost.place) for t in tasks if (method, t) in cells]
        known = [value for value in found if value is not None]
        values.append(cost.over_tasks(known) if len(known) == len(tasks) else None)
    unit = cost.unit
    if unit == "bytes":
        unit, size = memory_unit(values)
        values = [None if value is None else value / size for value in values]
    if len(tasks) > 1:
        notes.append(f"{name}: {cost.says} over the tasks")
    head = f"{name}, {unit}" if unit else name
    return head, [_entry(value, lambda v: "" if v is None else significant(v)) for value in values]


def _marked(column: Sequence[Entry], *, lowest: bool) -> list[Entry]:
    """The best and the second best marked, and all that read like them."""
    known = sorted({e.value for e in column if e.value is not None}, reverse=not lowest)
    texts = list(dict.fromkeys(next(e.text for e in column if e.value == v) for v in known))
    if len(texts) < 2:
        return list(column)
    marks: dict[str, Mark] = {texts[0]: "best"}
    if len(texts) > 2:
        marks[texts[1]] = "second"
    return [
        Entry(value=e.value, text=e.text, mark=marks.get(e.text, ""), above=e.above,
              interval=e.interval)
        if e.value is not None else e
        for e in column
    ]  # fmt: skip


def _above(
    spec: TableSpec, names: Sequence[str], tasks: Sequence[str], cells: Cells, notes: list[str]
) -> dict[tuple[str, str], str]:
    """Letters of the methods that a cell is significantly above of, over all pairs of the board."""
    pairs, p_values = list[tuple[str, str, str]](), list[float]()
    for task in tasks:
        for place, one in enumerate(names):
            for other in names[place + 1 :]:
                tested = _tested(spec, cells.get((one, task)), cells.get((other, task)), notes)
                if tested is not None:
                    up, down = (one, other) if tested[0] > 0 else (other, one)
                    pairs.append((up, down, task))
                    p_values.append(tested[1])
    letters = {name: LETTERS[n % 26] for n, name in enumerate(names)}
    above: dict[tuple[str, str], str] = {}
    for (better, worse, task), p in zip(pairs, holm(p_values), strict=True):
        if p <= spec.level:
            above[better, task] = above.get((better, task), "") + letters[worse]
    return {cell: "".join(sorted(found)) for cell, found in above.items()}


def _tested(
    spec: TableSpec, one: Stored | None, other: Stored | None, notes: list[str]
) -> tuple[float, float] | None:
    """Mean difference and p; None where the two cannot be paired, and a note that says so."""
    if one is None or other is None:
        return None
    try:
        said = next(obstacles(one[0], other[0]), None)
        if said is not None:
            raise ResultsError(said)
        _, of, than = paired_values(one, other, _measure(spec, one[0]))
    except ResultsError as error:
        names = f"{one[0].method.name} and {other[0].method.name} on {one[0].task.name}"
        notes.append(f"not tested: {names}: {error}")
        return None
    return float((of - than).mean()), permutation_test(of - than)


def _order(
    spec: TableSpec, names: Sequence[str], heads: Sequence[str], columns: Sequence[Sequence[Entry]]
) -> list[int]:
    places = list(range(len(names)))
    if spec.sort == "method":
        return sorted(places, key=lambda n: names[n])
    found = [n for n, head in enumerate(heads) if head.partition(",")[0] == spec.sort]
    column = columns[found[0] if found else 0]
    sign = 1 if spec.sort in COSTS else -1

    def key(n: int) -> tuple[bool, float, str]:
        value = column[n].value
        return value is None, sign * (value or 0.0), names[n]

    return sorted(places, key=key)


def _unique(heads: Sequence[str]) -> list[str]:
    """Tasks by their last part where that tells them apart; `bytes/doc` is no task."""
    stems = [head if head in COSTS else head.rpartition("/")[2] for head in heads]
    return [
        stem if stems.count(stem) == 1 else head for stem, head in zip(stems, heads, strict=True)
    ]


def _legend(spec: TableSpec, cells: Cells) -> list[str]:
    measures = {_measure(spec, stored[0]) for stored in cells.values()}
    said = [f"measure: {', '.join(sorted(measures))}"] if measures else ["no records"]
    if spec.intervals:
        said.append("in brackets: 95% percentile bootstrap over queries")
    if spec.significance:
        said.append(
            "letters: significantly above that method (paired permutation test at"
            f" {spec.level:g}, by Holm's method over all pairs of the board)"
        )
    return said
