"""Boards, defined in `leaderboards/*.toml` or by a command: methods by tasks, and their costs.

A board is a pure function of records. It shows measures of every task, the mean over them where no
cell is missing, and what each method costs; the best is marked, the second best, and which methods
a value is significantly above of.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from rankstone.errors import DefinitionError, MeasureError, did_you_mean
from rankstone.evaluation.measure_names import canonical
from rankstone.leaderboards.costs import BY_NAME, OTHERS, Flag, flags_by_method, incomparable
from rankstone.leaderboards.curves.equal_recall import at_equal_recall
from rankstone.leaderboards.document import Cell, Mark
from rankstone.leaderboards.labels import label_notes, one_label, row_names, with_grids
from rankstone.leaderboards.marks import (
    Column,
    Tested,
    close_to_best,
    legend_of,
    letters,
    letters_below,
    marked_cells,
    number,
    tested_pairs,
)
from rankstone.leaderboards.numbers import flagged, interval, quality
from rankstone.leaderboards.suites import means_over_tasks
from rankstone.leaderboards.trained import trained_notes
from rankstone.results.record import Measure, RunRecord
from rankstone.results.selection import family_of
from rankstone.results.store import Stored
from rankstone.results.store import cells as cells_of
from rankstone.specs import MethodSpec, SuiteSpec
from rankstone.strict import Spec, build_spec


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
    measures: tuple[str, ...] = ()
    """Several measures of each task, instead of `measure`."""
    mean: bool = True
    """A column with the mean over the tasks; of one suite, as the suite itself averages."""
    costs: tuple[str, ...] = ()
    intervals: bool = False
    significance: bool = False
    """Letters of the methods that a value is significantly above of."""
    level: float = Field(default=0.05, gt=0, lt=1)
    sort: str = "mean"
    """`mean`, `method`, a task, a measure, or a cost."""
    top: int = Field(default=0, ge=0)
    """Only so many rows, the first of that order; 0: all."""
    recall: float | None = Field(default=None, gt=0, le=1)
    """Keep one method of each grid: that with the lowest median latency of search, among those that
    find this share of the first results of exact search on every task."""
    apart: bool = False
    """A table for each task, with curves of grids and of load below it."""

    @property
    def columns(self) -> tuple[str | None, ...]:
        """Measures of each task; None is its headline."""
        return self.measures or (self.measure,)

    @model_validator(mode="after")
    def _columns_are_known(self) -> TableSpec:
        for name in self.costs:
            if name not in BY_NAME:
                raise ValueError(f"no cost '{name}'.{did_you_mean(name, BY_NAME)}")
        if self.measure is not None and self.measures:
            raise ValueError("'measure' and 'measures' are both stated; keep one")
        known = {"mean", "method", *self.costs, *self.tasks, *self.measures}
        if self.sort not in known:
            raise ValueError(f"no column '{self.sort}' to sort by.{did_you_mean(self.sort, known)}")
        return self


def stated(
    tasks: Sequence[str], measures: Sequence[str], columns: Sequence[str], **options: Any
) -> TableSpec:
    """Return the board of a command, whose `columns` are costs, `mean`, and more measures.

    Raises: DefinitionError, where a column is none of these.
    """
    shown = measures_among([*measures, *columns])
    costs = [OTHERS[name].name for name in columns if name in OTHERS]
    values = {"name": "board", "tasks": tasks, "measures": shown, "costs": costs, **options}
    return build_spec(TableSpec, {"mean": "mean" in columns, **values}, Path("leaderboard"))


def restated(
    spec: TableSpec, measures: Sequence[str], columns: Sequence[str], **options: Any
) -> TableSpec:
    """Return a defined board with `options`, and with `columns` instead of its own.

    Raises: DefinitionError, as for `stated`.
    """
    if not (measures or columns):
        return build_spec(TableSpec, {**spec.model_dump(), **options}, Path("leaderboard"))
    own = [name for name in spec.columns if name]
    kept = {"records", "methods", "families", "licences", "zero_shot", "machine", "title",
            "intervals", "significance", "level", "top", "recall", "apart"}  # fmt: skip
    return stated(
        spec.tasks, measures or own, columns, **{**spec.model_dump(include=kept), **options}
    )


def measures_among(columns: Iterable[str]) -> list[str]:
    """Return the measures among columns, each once, as records name them."""
    given = (name for name in columns if name not in OTHERS and name != "mean")
    return list(dict.fromkeys(map(_measure, given)))


def _measure(name: str) -> str:
    try:
        return canonical(name)
    except MeasureError as error:
        costs = f"Columns of costs (--columns): mean, {', '.join(BY_NAME)}."
        raise DefinitionError(f"{error} {costs}{did_you_mean(name, BY_NAME)}") from None


@dataclass(frozen=True, kw_only=True)
class Board:
    """Content of a table, before it is drawn."""

    title: str
    heads: tuple[str, ...]
    """Headings of the columns after the method."""
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    fields: tuple[str, ...] = ()
    """Names of these columns for programs, whose units are those of records: ms, bytes."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Method -> the label that stands for it; others stand for themselves."""
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
    given = list(stored)
    shown_as = with_grids((record for record, _ in given), methods or {})
    labelled = ((record, path) for record, (_, path) in zip(shown_as, given, strict=True))
    cells = _cells(spec, labelled, tasks, methods or {})
    cells, rule = (cells, []) if spec.recall is None else at_equal_recall(cells, spec.recall)
    names = list(dict.fromkeys(method for method, _ in cells))
    columns = [Column(task, measure) for task in tasks for measure in spec.columns]
    untested: list[str] = []
    pairs = tested_pairs(columns, names, cells, untested) if spec.significance else []
    every = _board(spec, cells, names, tasks, suite, pairs)
    shown = [method for method, _ in every.rows][: spec.top or None]
    kept = {cell: one for cell, one in cells.items() if cell[0] in shown}
    made = _board(spec, kept, shown, tasks, suite, pairs)
    part = f"the first {len(shown)} of {len(names)} methods by {spec.sort}"
    notes = [*rule, *made.notes, *untested, *([part] if len(shown) < len(names) else [])]
    return replace(made, notes=tuple(dict.fromkeys(notes)))


def _board(
    spec: TableSpec,
    cells: Cells,
    names: Sequence[str],
    tasks: Sequence[str],
    suite: SuiteSpec | None,
    pairs: Sequence[Tested],
) -> Board:
    """The board of the methods `names`, whose letters follow that order."""
    columns = [Column(task, measure) for task in tasks for measure in spec.columns]
    found = {
        column: {name: _measured(column, cells.get((name, column.task))) for name in names}
        for column in columns
    }
    values = {
        column: {name: None if one is None else one.mean for name, one in measured.items()}
        for column, measured in found.items()
    }
    notes: list[str] = []
    above = letters_below(names, pairs, spec.level)
    entries = list[list[Cell]]()
    heads = [_head(spec, column, tasks) for column in columns]
    fields = [f"{c.task} {' / '.join(_measures([c], cells))}".strip() for c in columns]
    for column, measured in found.items():
        close = close_to_best(pairs, column, values[column], spec.level)
        drawn = [
            _quality_cell(spec, one, above.get((name, column), ""))
            for name, one in measured.items()
        ]
        entries.append(marked_cells(drawn, close=[name in close for name in names]))
    for measure in spec.columns if spec.mean and len(tasks) > 1 else ():
        heads.append(f"mean {measure}" if len(spec.columns) > 1 else "mean")
        fields.append(f"mean {measure or ''}".strip())
        of_measure = {c.task: row for c, row in values.items() if c.measure == measure}
        means = means_over_tasks(measure, names, cells, of_measure, suite, notes)
        entries.append(marked_cells([Cell(value=v, text=quality(v)) for v in means]))
    records = [record for record, _ in cells.values()]
    labels = row_names(names, [one_label(n, records) for n in names])
    for cost in spec.costs:
        head, costs = _cost(cost, dict(zip(names, labels, strict=True)), tasks, cells, notes)
        heads.append(head)
        fields.append(BY_NAME[cost].field)
        entries.append(costs)
    order = _order(spec, names, heads, entries)
    marks = {cell.mark for entry in entries for cell in entry}
    return Board(
        title=spec.title,
        heads=tuple(_unique(heads)),
        fields=tuple(fields),
        rows=tuple((names[n], tuple(column[n] for column in entries)) for n in order),
        names={name: label for name, label in zip(names, labels, strict=True) if label},
        trained=frozenset(r.method.name for r in records if r.is_trained),
        letters=dict(zip(names, letters(len(names)), strict=True)) if spec.significance else {},
        notes=(*_legend(spec, columns, cells, marks), *label_notes(names, labels), *notes),
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
            and (not spec.families or family_of(method) in spec.families)
            and (not spec.licences or licence in spec.licences)
        )

    standing = cells_of(stored, machine=spec.machine)
    found = {cell: one for cell, one in standing.items() if shown(*cell, one[0])}
    order = {name: n for n, name in enumerate(spec.methods)}
    return dict(sorted(found.items(), key=lambda item: (order.get(item[0][0], 0), item[0])))


def _measured(column: Column, stored: Stored | None) -> Measure | None:
    return stored[0].measures.get(column.measure_of(stored)) if stored else None


def _head(spec: TableSpec, column: Column, tasks: Sequence[str]) -> str:
    """The task; of several measures the measure, behind the task where there are several."""
    if len(spec.columns) == 1:
        return column.measure or column.task if spec.apart else column.task
    return f"{column.task} {column.measure}" if len(tasks) > 1 else str(column.measure)


def _quality_cell(spec: TableSpec, found: Measure | None, above: str) -> Cell:
    if found is None:
        return Cell(text=quality(None))
    known = spec.intervals and found.low is not None and found.high is not None
    ends = interval(found.low, found.high) if known else ""
    return Cell(value=found.mean, text=quality(found.mean), letters=above, interval=ends,
                low=found.low, high=found.high)  # fmt: skip


def _cost(
    name: str, names: Mapping[str, str], tasks: Sequence[str], cells: Cells, notes: list[str]
) -> tuple[str, list[Cell]]:
    """The head and the column of a cost, over all tasks together.

    Args:
        names: methods and their labels, if they have any.
    """
    cost = BY_NAME[name]
    refused = incomparable(cost, [record for record, _ in cells.values()])
    if refused:
        notes.append(f"{name} is not compared: {refused}")
        return name, [Cell(text="") for _ in names]
    values: list[float | None] = []
    for method in names:
        found = [cost.of(cells[method, t][0]) for t in tasks if (method, t) in cells]
        known = [value for value in found if value is not None]
        values.append(cost.combined(known) if len(known) == len(tasks) else None)
    unit, shown = cost.in_unit(values)
    if len(tasks) > 1:
        notes.append(f"{name}: {cost.over_tasks} over the tasks")
    records = [record for record, _ in cells.values()]
    timed = [r for r in records if r.profile and r.profile.latency and cost.of(r) is None]
    without = dict.fromkeys(r.method.name for r in timed)
    notes += cost.without([names[method] or method for method in without], len(names))
    flags = flags_by_method(cost, records)
    notes += [flag.note for flag in flags.values()]
    head = f"{name}, {unit}" if unit else name
    barred = {record.method.name for record in records if not cost.competes(record)}
    competing = [
        None if method in barred else value for value, method in zip(values, names, strict=True)
    ]
    column = [
        _cost_cell(value, in_unit, flags.get(method))
        for value, in_unit, method in zip(values, shown, names, strict=True)
    ]
    return head, marked_cells(column, competing, higher_is_better=cost.higher_is_better)


def _cost_cell(value: float | None, in_unit: float | None, flag: Flag | None) -> Cell:
    if value is None:
        return Cell(text="")
    mark, word = (flag.mark, flag.word) if flag else ("", "")
    return Cell(value=value, text=flagged(in_unit, mark), note=word)


def _order(
    spec: TableSpec, names: Sequence[str], heads: Sequence[str], columns: Sequence[Sequence[Cell]]
) -> list[int]:
    places = list(range(len(names)))
    if spec.sort == "method":
        return sorted(places, key=lambda n: names[n])
    column = columns[_sorted_by(spec.sort, heads)]
    rising = spec.sort in BY_NAME and not BY_NAME[spec.sort].higher_is_better
    sign = 1 if rising else -1

    def key(n: int) -> tuple[bool, float, str]:
        value = number(column[n])
        return value is None, sign * (value or 0.0), names[n]

    return sorted(places, key=key)


def _sorted_by(sort: str, heads: Sequence[str]) -> int:
    """The column of that head; of a measure its mean, else the first that has it; else the
    first."""
    whole = [head.partition(",")[0] for head in heads]
    for name in (sort, f"mean {sort}"):
        if name in whole:
            return whole.index(name)
    parts = (n for n, head in enumerate(whole) if {*head.split(" ")} & {sort})
    return next(parts, 0)


def _unique(heads: Sequence[str]) -> list[str]:
    """Return tasks by their last part where that is unique; `bytes/doc` is no task."""
    stems = [head if head in BY_NAME else head.rpartition("/")[2] for head in heads]
    return [
        stem if stems.count(stem) == 1 else head for stem, head in zip(stems, heads, strict=True)
    ]


def _legend(
    spec: TableSpec, columns: Sequence[Column], cells: Cells, marks: Collection[Mark]
) -> list[str]:
    measures = _measures(columns, cells)
    legend = [f"measure: {', '.join(measures)}"] if measures else ["no records"]
    if spec.intervals:
        rules = {record.policy.intervals.partition(",")[0] for record, _ in cells.values()}
        legend.append(f"in brackets: {'; '.join(sorted(rules))}")
    legend += legend_of(marks, spec.level if spec.significance else None)
    legend += trained_notes(record for record, _ in cells.values())
    return legend


def _measures(columns: Sequence[Column], cells: Cells) -> list[str]:
    """Return the measures of these columns."""
    return sorted(
        {c.measure_of(one) for c in columns for (_, task), one in cells.items() if task == c.task}
    )
