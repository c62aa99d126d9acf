"""Boards: methods by tasks, and their costs.

A board is a pure function of records. It shows measures of every task, the mean over them where no
cell is missing, and what each method costs; the best is marked, the second best, and which methods
a value is significantly above of.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

from rankstone.leaderboards.board_spec import TableSpec
from rankstone.leaderboards.compare import other_data
from rankstone.leaderboards.costs import BY_NAME, Cost, Flag, flags_by_method, incomparable
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
    draft = _Draft(spec=spec, columns=columns, cells=cells, names=names, tasks=tasks, suite=suite,
                   pairs=pairs)  # fmt: skip
    shown = [method for method, _ in draft.board().rows][: spec.top or None]
    kept = {cell: one for cell, one in cells.items() if cell[0] in shown}
    made = replace(draft, cells=kept, names=shown).board()
    part = f"the first {len(shown)} of {len(names)} methods by {spec.sort}"
    notes = [*rule, *made.notes, *untested, *([part] if len(shown) < len(names) else [])]
    return replace(made, notes=tuple(dict.fromkeys(notes)))


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


class _Drawn(NamedTuple):
    """A column as it is drawn."""

    head: str
    field: str
    cells: list[Cell]


@dataclass(frozen=True, kw_only=True)
class _Draft:
    """The board of the methods `names`, whose letters follow that order."""

    spec: TableSpec
    columns: Sequence[Column]
    cells: Cells
    names: Sequence[str]
    tasks: Sequence[str]
    suite: SuiteSpec | None
    pairs: Sequence[Tested]

    def board(self) -> Board:
        notes: list[str] = []
        drawn = [*self._qualities(), *self._means(notes), *self._costs(notes)]
        lettered = self.names if self.spec.significance else []
        return Board(
            title=self.spec.title,
            heads=tuple(_unique([column.head for column in drawn])),
            fields=tuple(column.field for column in drawn),
            rows=tuple(
                (self.names[n], tuple(column.cells[n] for column in drawn))
                for n in _order(self.spec, self.names, drawn)
            ),
            names={name: label for name, label in self._labels.items() if label},
            trained=frozenset(r.method.name for r in self._records if r.is_trained),
            letters=dict(zip(lettered, letters(len(lettered)), strict=True)),
            notes=(
                *self._legend({cell.mark for column in drawn for cell in column.cells}),
                *label_notes(self._labels, self._labels.values()),
                *self._of_other_data.values(),
                *notes,
            ),
        )

    @cached_property
    def _records(self) -> list[RunRecord]:
        return [record for record, _ in self.cells.values()]

    @cached_property
    def _of_other_data(self) -> dict[str, str]:
        """Task -> note, for tasks whose records were not measured on the same data."""
        parts = {
            task: other_data(r for r in self._records if r.task.name == task) for task in self.tasks
        }
        return {
            task: f"{task}: its records are of different data ({', '.join(found)}):"
            " no best is marked"
            for task, found in parts.items()
            if found
        }

    @cached_property
    def _labels(self) -> dict[str, str]:
        """Each method's label, empty if it has none."""
        labels = [one_label(name, self._records) for name in self.names]
        return dict(zip(self.names, row_names(self.names, labels), strict=True))

    @cached_property
    def _found(self) -> dict[Column, dict[str, Measure | None]]:
        """Column -> the measure of each method in it."""
        return {column: dict(self._measured(column)) for column in self.columns}

    def _measured(self, column: Column) -> Iterator[tuple[str, Measure | None]]:
        for name in self.names:
            one = self.cells.get((name, column.task))
            yield name, one[0].measures.get(column.measure_of(one)) if one else None

    def _qualities(self) -> Iterator[_Drawn]:
        above = letters_below(self.names, self.pairs, self.spec.level)
        for column, found in self._found.items():
            close = close_to_best(self.pairs, column, _values(found), self.spec.level)
            cells = [
                _quality_cell(self.spec, one, above.get((name, column), ""))
                for name, one in found.items()
            ]
            field = f"{column.task} {' / '.join(self._measures(column))}".strip()
            competing = self._competing(cells, [column.task])
            near = [n in close for n in found]
            yield _Drawn(self._head(column), field, marked_cells(cells, competing, close=near))

    def _competing(self, cells: Sequence[Cell], tasks: Sequence[str]) -> list[float | None]:
        """Return the figures that may be the best: none if they are of other data."""
        if any(task in self._of_other_data for task in tasks):
            return [None] * len(cells)
        return [number(cell) for cell in cells]

    def _means(self, notes: list[str]) -> Iterator[_Drawn]:
        """Yield the mean of each measure over the tasks, where there are several."""
        measures = self.spec.columns
        for measure in measures if self.spec.mean and len(self.tasks) > 1 else ():
            of = {c.task: f for c, f in self._found.items() if c.measure == measure}
            values = {task: _values(found) for task, found in of.items()}
            means = means_over_tasks(measure, self.names, self.cells, values, self.suite, notes)
            name = f"mean {measure or ''}".strip()
            cells = [Cell(value=mean, text=quality(mean)) for mean in means]
            cells = marked_cells(cells, self._competing(cells, self.tasks))
            yield _Drawn(f"mean {measure}" if len(measures) > 1 else "mean", name, cells)

    def _costs(self, notes: list[str]) -> Iterator[_Drawn]:
        for cost in (BY_NAME[name] for name in self.spec.costs):
            refused = incomparable(cost, self._records)
            if refused:
                notes.append(f"{cost.name} is not compared: {refused}")
                yield _Drawn(cost.name, cost.field, [Cell(text="") for _ in self.names])
            else:
                yield self._cost(cost, notes)

    def _cost(self, cost: Cost, notes: list[str]) -> _Drawn:
        """Return the column of a cost, over all tasks together."""
        values = [self._over_tasks(cost, method) for method in self.names]
        unit, shown = cost.in_unit(values)
        if len(self.tasks) > 1:
            notes.append(f"{cost.name}: {cost.over_tasks} over the tasks")
        timed = [r for r in self._records if r.latency]
        without = dict.fromkeys(r.method.name for r in timed if cost.of(r) is None)
        labels = [self._labels[method] or method for method in without]
        notes += cost.without(labels, len(self.names))
        flags = flags_by_method(cost, self._records)
        notes += [flag.note for flag in flags.values()]
        barred = {
            record.method.name
            for record in self._records
            if self._of_other_data or not cost.competes(record)
        }
        rows = list(zip(self.names, values, shown, strict=True))
        competing = [None if method in barred else value for method, value, _ in rows]
        column = [_cost_cell(value, there, flags.get(method)) for method, value, there in rows]
        return _Drawn(
            cost.in_words(unit),
            cost.field,
            marked_cells(column, competing, higher_is_better=cost.higher_is_better),
        )

    def _over_tasks(self, cost: Cost, method: str) -> float | None:
        """Return the cost of a method over all tasks; None where it is not known on one."""
        stored = [self.cells.get((method, task)) for task in self.tasks]
        found = [None if one is None else cost.of(one[0]) for one in stored]
        known = [value for value in found if value is not None]
        return cost.combined(known) if len(known) == len(found) else None

    def _head(self, column: Column) -> str:
        """The task; of several measures the measure, behind the task where there are several."""
        if len(self.spec.columns) == 1:
            return column.measure or column.task if self.spec.apart else column.task
        return f"{column.task} {column.measure}" if len(self.tasks) > 1 else str(column.measure)

    def _measures(self, *columns: Column) -> list[str]:
        """Return the measures of these columns."""
        cells = self.cells.items()
        return sorted({c.measure_of(one) for c in columns for (_, t), one in cells if t == c.task})

    def _legend(self, marks: Collection[Mark]) -> list[str]:
        measures = self._measures(*self.columns)
        legend = [f"measure: {', '.join(measures)}"] if measures else ["no records"]
        if self.spec.intervals:
            rules = {record.policy.intervals.partition(",")[0] for record in self._records}
            legend.append(f"in brackets: {'; '.join(sorted(rules))}")
        legend += legend_of(marks, self.spec.level if self.spec.significance else None)
        return [*legend, *trained_notes(self._records)]


def _values(found: Mapping[str, Measure | None]) -> dict[str, float | None]:
    return {name: None if one is None else one.mean for name, one in found.items()}


def _quality_cell(spec: TableSpec, found: Measure | None, above: str) -> Cell:
    if found is None:
        return Cell(text=quality(None))
    known = spec.intervals and found.low is not None and found.high is not None
    ends = interval(found.low, found.high) if known else ""
    return Cell(value=found.mean, text=quality(found.mean), letters=above, interval=ends,
                low=found.low, high=found.high)  # fmt: skip


def _cost_cell(value: float | None, in_unit: float | None, flag: Flag | None) -> Cell:
    if value is None:
        return Cell(text="")
    mark, word = (flag.mark, flag.word) if flag else ("", "")
    return Cell(value=value, text=flagged(in_unit, mark), note=word)


def _order(spec: TableSpec, names: Sequence[str], drawn: Sequence[_Drawn]) -> list[int]:
    rows = list(range(len(names)))
    if spec.sort == "method":
        return sorted(rows, key=lambda n: names[n])
    column = drawn[_sorted_by(spec.sort, [column.head for column in drawn])].cells
    rising = spec.sort in BY_NAME and not BY_NAME[spec.sort].higher_is_better
    sign = 1 if rising else -1

    def key(n: int) -> tuple[bool, float, str]:
        value = number(column[n])
        return value is None, sign * (value or 0.0), names[n]

    return sorted(rows, key=key)


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
