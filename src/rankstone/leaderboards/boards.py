"""Defined leaderboards: `leaderboards/*.toml`, methods by tasks, with costs beside the quality.

A board is a pure function of records. It shows one measure of every task, the mean over them where
no cell is missing, and what each method costs; the best is marked, the second best, and which
methods a value is significantly above of.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, product
from statistics import fmean
from string import ascii_lowercase
from typing import NamedTuple

from pydantic import Field, model_validator

from rankstone.errors import ResultsError, did_you_mean
from rankstone.evaluation.family import holm
from rankstone.evaluation.sign_flips import p_two_sided
from rankstone.leaderboards.compare import obstacles, paired_values
from rankstone.leaderboards.costs import BY_NAME, Cost, Flag, conditions
from rankstone.leaderboards.document import Cell
from rankstone.leaderboards.marks import letters, marked
from rankstone.leaderboards.numbers import flagged, interval, quality
from rankstone.leaderboards.suites import mean_of
from rankstone.leaderboards.trained import trained_notes
from rankstone.results.record import Measure, RunRecord
from rankstone.results.store import Stored
from rankstone.results.store import cells as cells_of
from rankstone.specs import MethodSpec, SuiteSpec
from rankstone.strict import Spec


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
    zero_shot: bool = False
    """Leave out methods that learnt from the training split of a task."""
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
            if name not in BY_NAME:
                raise ValueError(f"no cost '{name}'.{did_you_mean(name, BY_NAME)}")
        known = {"mean", "method", *self.costs, *self.tasks}
        if self.sort not in known:
            raise ValueError(f"no column '{self.sort}' to sort by.{did_you_mean(self.sort, known)}")
        return self


@dataclass(frozen=True, kw_only=True)
class Board:
    """Content of a table, before it is drawn."""

    title: str
    heads: tuple[str, ...]
    """Headings of the columns after the method."""
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    trained: frozenset[str] = frozenset()
    """Methods that learnt from the training split of a task."""
    letters: Mapping[str, str] = field(default_factory=dict)
    """Method -> its letter, where significance is shown."""
    notes: tuple[str, ...] = ()


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
    found = {
        task: {name: _measured(spec, cells.get((name, task))) for name in names} for task in tasks
    }
    columns = {
        task: {name: None if one is None else one.mean for name, one in column.items()}
        for task, column in found.items()
    }
    notes: list[str] = []
    tests = _tests(spec, names, tasks, cells, notes) if spec.significance else []
    above = _above(spec, names, tests)
    heads, entries = [], list[list[Cell]]()
    for task, values in columns.items():
        heads.append(task)
        column = [
            Cell(
                value=values[name],
                text=quality(values[name]),
                letters=above.get((name, task), ""),
                interval=_interval(spec, found[task][name]),
            )
            for name in names
        ]
        close = _close(spec, tests, task, values)
        entries.append(_marked(column, close=[name in close for name in names]))
    if spec.mean and len(tasks) > 1:
        heads.append("mean")
        means = _means(spec, names, cells, columns, suite, notes)
        entries.append(_marked([Cell(value=v, text=quality(v)) for v in means]))
    for cost in spec.costs:
        head, column = _cost(cost, names, tasks, cells, notes)
        heads.append(head)
        entries.append(column)
    order = _order(spec, names, heads, entries)
    rows = tuple((names[n], tuple(column[n] for column in entries)) for n in order)
    return Board(
        title=spec.title,
        heads=tuple(_unique(heads)),
        rows=rows,
        trained=frozenset(r.method.name for r, _ in cells.values() if r.is_trained),
        letters=_letters(names) if spec.significance else {},
        notes=tuple(dict.fromkeys([*_legend(spec, cells), *notes])),
    )


Cells = dict[tuple[str, str], Stored]


def _cells(
    spec: TableSpec,
    stored: Iterable[Stored],
    tasks: Sequence[str],
    methods: Mapping[str, MethodSpec],
) -> Cells:
    """(method, task) -> the good record that stands for it, where the filters let it through."""

    def shown(method: str, task: str, record: RunRecord) -> bool:
        licence = methods[method].licence if method in methods else ""
        return (
            record.status == "ok"
            and not (spec.zero_shot and record.is_trained)
            and task in tasks
            and (not spec.methods or method in spec.methods)
            and (not spec.families or method.rpartition("/")[0] in spec.families)
            and (not spec.licences or licence in spec.licences)
        )

    found = {
        cell: one
        for cell, one in cells_of(stored, machine=spec.machine).items()
        if shown(*cell, one[0])
    }
    order = {name: n for n, name in enumerate(spec.methods)}
    return dict(sorted(found.items(), key=lambda item: (order.get(item[0][0], 0), item[0])))


def _measure(spec: TableSpec, record: RunRecord) -> str:
    return spec.measure or record.task.headline


def _measured(spec: TableSpec, stored: Stored | None) -> Measure | None:
    return stored[0].measures.get(_measure(spec, stored[0])) if stored else None


def _interval(spec: TableSpec, found: Measure | None) -> str:
    if not spec.intervals or found is None or found.low is None or found.high is None:
        return ""
    return interval(found.low, found.high)


def _means(
    spec: TableSpec,
    names: Sequence[str],
    cells: Cells,
    columns: Mapping[str, Mapping[str, float | None]],
    suite: SuiteSpec | None,
    notes: list[str],
) -> list[float | None]:
    """Return the means; one with a missing record would be another figure and stays empty."""
    means: list[float | None] = []
    for name in names:
        missing = [task for task, values in columns.items() if values[name] is None]
        if missing:
            shown = ", ".join(missing[:3]) + (", …" if len(missing) > 3 else "")
            notes.append(f"{name}: no mean, for there is no record on {shown}")
            means.append(None)
        elif suite is not None:
            own = {task: cells[name, task][0] for task in columns}
            mean = mean_of(suite, spec.measure, own)
            means.append(None if math.isnan(mean) else mean)
        else:
            means.append(
                fmean([v for values in columns.values() if (v := values[name]) is not None])
            )
    return means


def _cost(
    name: str, names: Sequence[str], tasks: Sequence[str], cells: Cells, notes: list[str]
) -> tuple[str, list[Cell]]:
    """The head and the column of a cost, over all tasks together."""
    cost = BY_NAME[name]
    refused = _incomparable(cost, [record for record, _ in cells.values()])
    if refused:
        notes.append(f"{name} is not compared: {refused}")
        return name, [Cell(text="") for _ in names]
    values: list[float | None] = []
    for method in names:
        found = [cost.of(cells[method, t][0]) for t in tasks if (method, t) in cells]
        known = [value for value in found if value is not None]
        values.append(cost.combined(known) if len(known) == len(tasks) else None)
    unit, values = cost.in_unit(values)
    if len(tasks) > 1:
        notes.append(f"{name}: {cost.over_tasks} over the tasks")
    timed = [m for (m, _), (r, _) in cells.items() if r.profile and r.profile.latency]
    unknown = [m for m, value in zip(names, values, strict=True) if value is None and m in timed]
    notes += cost.without(unknown, len(names))
    flags = _flags(cost, names, cells)
    notes += [flag.note for flag in flags.values()]
    head = f"{name}, {unit}" if unit else name
    barred = {method for (method, _), (record, _) in cells.items() if not cost.competes(record)}
    competing = [
        None if method in barred else value for value, method in zip(values, names, strict=True)
    ]
    column = [
        _cost_cell(value, flags.get(method)) for value, method in zip(values, names, strict=True)
    ]
    return head, _marked(column, competing, higher_is_better=cost.higher_is_better)


def _flags(cost: Cost, names: Sequence[str], cells: Cells) -> dict[str, Flag]:
    """Method -> the flag of its figure, of any task; one that bars it comes first."""
    found = dict[str, Flag]()
    for (method, _), (record, _) in cells.items():
        flag = cost.flag(record)
        if flag and (method not in found or cost.is_reused(record)):
            found[method] = flag
    return found


def _cost_cell(value: float | None, flag: Flag | None) -> Cell:
    if value is None:
        return Cell(text="")
    mark, word = (flag.mark, flag.word) if flag else ("", "")
    return Cell(value=value, text=flagged(value, mark), note=word)


def _incomparable(cost: Cost, records: Sequence[RunRecord]) -> str:
    """The reason why a cost of these records is not put side by side; empty where it may be."""
    machines, pairs = ({c[:n] for c in map(conditions, records)} for n in (1, 2))
    if not cost.of_machine or len(pairs) < 2:
        return ""
    if len(machines) > 1:
        return f"the records are of {len(machines)} machines"
    return f"the records are of {len(pairs)} numbers of threads"


def _marked(
    column: Sequence[Cell],
    competing: Sequence[float | None] | None = None,
    *,
    higher_is_better: bool = True,
    close: Sequence[bool] = (),
) -> list[Cell]:
    """The column with its best and second marked, of the figures `competing`, or of all.

    Args:
        close: cells that a test found not significantly below the best, which are marked like it.
    """
    values = [_number(cell) for cell in column] if competing is None else competing
    texts = [cell.text for cell in column]
    marks = marked(texts, values, higher_is_better=higher_is_better, second=True, close=close)
    return [replace(cell, mark=mark) for cell, mark in zip(column, marks, strict=True)]


def _number(cell: Cell) -> float | None:
    return cell.value if isinstance(cell.value, float) else None


class _Pair(NamedTuple):
    """Two methods on one task, the better first."""

    better: str
    worse: str
    task: str
    adjusted: float
    """p by Holm's method over all pairs of the board."""


def _tests(
    spec: TableSpec, names: Sequence[str], tasks: Sequence[str], cells: Cells, notes: list[str]
) -> list[_Pair]:
    """All pairs of the board that can be tested."""
    pairs, p_values = list[_Pair](), list[float]()
    for task, (one, other) in product(tasks, combinations(names, 2)):
        tested = _tested(spec, cells.get((one, task)), cells.get((other, task)), notes)
        if tested is not None:
            better, worse = (one, other) if tested[0] > 0 else (other, one)
            pairs.append(_Pair(better, worse, task, 1.0))
            p_values.append(tested[1])
    return [pair._replace(adjusted=p) for pair, p in zip(pairs, holm(p_values), strict=True)]


def _above(
    spec: TableSpec, names: Sequence[str], pairs: Sequence[_Pair]
) -> dict[tuple[str, str], str]:
    """Letters of the methods that a cell is significantly above of."""
    below: dict[tuple[str, str], list[str]] = {}
    for pair in pairs:
        if pair.adjusted <= spec.level:
            below.setdefault((pair.better, pair.task), []).append(pair.worse)
    known = _letters(names)
    separator = "" if len(names) <= len(ascii_lowercase) else ","
    return {
        cell: separator.join(letter for name, letter in known.items() if name in worse)
        for cell, worse in below.items()
    }


def _close(
    spec: TableSpec, pairs: Sequence[_Pair], task: str, values: Mapping[str, float | None]
) -> set[str]:
    """The methods that are tested against the best of a task, and not significantly below it."""
    best = max((v for v in values.values() if v is not None), default=None)
    return {
        pair.worse
        for pair in pairs
        if pair.task == task and values[pair.better] == best and pair.adjusted > spec.level
    }


def _letters(names: Sequence[str]) -> dict[str, str]:
    return dict(zip(names, letters(len(names)), strict=True))


def _tested(
    spec: TableSpec, one: Stored | None, other: Stored | None, notes: list[str]
) -> tuple[float, float] | None:
    """Mean difference and p; None where the two cannot be paired, and a note that says so."""
    if one is None or other is None:
        return None
    try:
        reason = next(obstacles(one[0], other[0]), None)
        if reason is not None:
            raise ResultsError(reason)
        _, of, than = paired_values(one, other, _measure(spec, one[0]))
    except ResultsError as error:
        names = f"{one[0].method.name} and {other[0].method.name} on {one[0].task.name}"
        notes.append(f"not tested: {names}: {error}")
        return None
    return float((of - than).mean()), p_two_sided(of - than)


def _order(
    spec: TableSpec, names: Sequence[str], heads: Sequence[str], columns: Sequence[Sequence[Cell]]
) -> list[int]:
    places = list(range(len(names)))
    if spec.sort == "method":
        return sorted(places, key=lambda n: names[n])
    found = [n for n, head in enumerate(heads) if head.partition(",")[0] == spec.sort]
    column = columns[found[0] if found else 0]
    rising = spec.sort in BY_NAME and not BY_NAME[spec.sort].higher_is_better
    sign = 1 if rising else -1

    def key(n: int) -> tuple[bool, float, str]:
        value = _number(column[n])
        return value is None, sign * (value or 0.0), names[n]

    return sorted(places, key=key)


def _unique(heads: Sequence[str]) -> list[str]:
    """Return tasks by their last part where that is unique; `bytes/doc` is no task."""
    stems = [head if head in BY_NAME else head.rpartition("/")[2] for head in heads]
    return [
        stem if stems.count(stem) == 1 else head for stem, head in zip(stems, heads, strict=True)
    ]


def _legend(spec: TableSpec, cells: Cells) -> list[str]:
    measures = {_measure(spec, stored[0]) for stored in cells.values()}
    legend = [f"measure: {', '.join(sorted(measures))}"] if measures else ["no records"]
    if spec.intervals:
        rules = {record.policy.intervals.partition(",")[0] for record, _ in cells.values()}
        legend.append(f"in brackets: {'; '.join(sorted(rules))}")
    if spec.significance:
        legend.append(
            "letters: significantly above that method (paired sign-flip test at"
            f" {spec.level:g}, by Holm's method over all pairs of the board); bold: the best, and"
            " what is not significantly below it"
        )
    legend += trained_notes(record for record, _ in cells.values())
    return legend
