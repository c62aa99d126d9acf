"""Published tables, `leaderboards/papers/*.toml`, and their comparison with records.

Each row of a table has one method and one measure, with the published value for each task. A
measured cell is within the table's tolerance, above or below it: a score too high is as suspicious
as one too low. The other cells were not run, for a stated reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from pydantic import Field, model_validator

from rankstone.errors import DefinitionError, did_you_mean
from rankstone.leaderboards.suites import mean_of
from rankstone.results.record import RunRecord
from rankstone.results.side_files import SCORED, again
from rankstone.results.store import Found
from rankstone.specs import MethodSpec, SuiteSpec, TaskSpec
from rankstone.strict import Spec

Verdict = Literal["within", "above", "below", "not run"]
WIDEST = 0.01
"""Largest tolerance of a fraction; a larger one would hide a difference of one nDCG point."""
WIDEST_SHARE = 0.1
"""Largest tolerance of a count, as a fraction of the smallest value in the row."""
SLACK = 1e-9
"""Rounding slack, so that a value exactly at the tolerance is within it."""


class RowSpec(Spec):
    """One method and one measure: a table `[[rows]]`."""

    row: str
    """Name in the source."""
    method: str | None = None
    """Full name of the method defined here, if there is one."""
    measure: str
    """Name of the measure; the source's if it is not defined here."""
    expected: dict[str, float] = Field(default_factory=dict)
    """Task or suite -> published value."""
    elsewhere: dict[str, float] = Field(default_factory=dict)
    """Name in the source -> published value, for data without a task defined here."""
    tolerance: float | None = Field(default=None, gt=0)
    """Overrides the table's tolerance."""
    confidence: Literal["high", "medium", "low"] = "high"
    """Confidence that the source was read correctly."""
    note: str = ""

    DOCUMENTATION = frozenset({"note", "confidence"})

    @model_validator(mode="after")
    def _has_values(self) -> RowSpec:
        values = [*self.expected.values(), *self.elsewhere.values()]
        if not values:
            raise ValueError(f"the row '{self.row}' has no value, 'expected' or 'elsewhere'")
        if min(values) < 0:
            raise ValueError(f"the row '{self.row}' has a negative value")
        if self.method is not None and "/" not in self.method:
            raise ValueError(f"'{self.method}' is not a full name: <family>/<name>")
        return self

    def key(self) -> tuple[str, ...]:
        """Return the values that distinguish it from the table's other rows."""
        return self.row, self.measure, self.method or "", self.confidence

    def widest(self) -> float:
        """Return the largest tolerance at which a comparison is still informative."""
        values = [*self.expected.values(), *self.elsewhere.values()]
        return WIDEST if max(values) <= 1 else WIDEST_SHARE * min(values)


class PaperSpec(Spec):
    """One published table, from `leaderboards/papers/<name>.toml`."""

    name: str
    title: str
    source: str
    """Paper or page, and the table in it."""
    tolerance: float = Field(gt=0)
    """Largest distance from the published value that counts as the same result."""
    because: str
    """Reason for the tolerance."""
    digits: int = Field(default=4, ge=0, le=6)
    """Number of decimals in the source."""
    note: str = ""
    rows: tuple[RowSpec, ...] = Field(min_length=1)

    DOCUMENTATION = frozenset({"title", "source", "because", "note"})

    def tolerance_of(self, row: RowSpec) -> float:
        return self.tolerance if row.tolerance is None else row.tolerance

    @property
    def tasks(self) -> set[str]:
        """Tasks and suites defined here that it has values for."""
        return {name for row in self.rows for name in row.expected}

    @model_validator(mode="after")
    def _can_fail(self) -> PaperSpec:
        for row in self.rows:
            tolerance = self.tolerance_of(row)
            if tolerance > row.widest() + SLACK:
                raise ValueError(
                    f"the tolerance {tolerance:g} of the row '{row.row}' accepts any value:"
                    f" {row.widest():g} at most"
                )
        twice = [key for key, n in Counter(map(RowSpec.key, self.rows)).items() if n > 1]
        if twice:
            raise ValueError(f"the row '{twice[0][0]}' occurs twice for {twice[0][1]}")
        return self


@dataclass(frozen=True, kw_only=True)
class Known:
    """Definitions, and the available data."""

    methods: Mapping[str, str]
    """Full name -> digest of its definition."""
    tasks: Mapping[str, str]
    """Full name -> digest of its definition."""
    on: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """(method, task) -> digest of the definition on that task, if parameters depend on it."""
    suites: Mapping[str, SuiteSpec] = field(default_factory=dict)
    unreleased: frozenset[str] = frozenset()
    """Methods whose weights were never released."""
    reach: frozenset[str] = frozenset()
    """Tasks whose data is available."""
    lacking: Mapping[str, str] = field(default_factory=dict)
    """Method that needs an extra that is not installed -> the install line."""

    @classmethod
    def of(
        cls,
        methods: Iterable[MethodSpec],
        tasks: Mapping[str, TaskSpec],
        suites: Mapping[str, SuiteSpec],
        names: Iterable[str],
        is_available: Callable[[TaskSpec], bool],
    ) -> Known:
        """Collect all definitions; `is_available` is called for the tasks of `names` only."""
        specs = list(methods)
        wanted = {t for name in names for t in (suites[name].tasks if name in suites else (name,))}
        asked = [task for name, task in tasks.items() if name in wanted]
        varying = [(s, task) for s in specs if s.varies for task in asked]
        return cls(
            methods={spec.name: spec.on_task("").digest() for spec in specs},
            on={(s.name, t.name): s.on_task(t.name, t.instruction).digest() for s, t in varying},
            tasks={name: task.digest() for name, task in tasks.items()},
            suites=suites,
            unreleased=frozenset(spec.name for spec in specs if spec.weights == "unavailable"),
            reach=frozenset(name for name in wanted & set(tasks) if is_available(tasks[name])),
        )

    def members(self, name: str) -> tuple[str, ...]:
        """Return the tasks of a suite, or the task itself."""
        return self.suites[name].tasks if name in self.suites else (name,)

    def here(self, name: str) -> bool:
        return all(task in self.reach for task in self.members(name))


class PaperCell(NamedTuple):
    """One published value, and its measured counterpart."""

    row: RowSpec
    task: str
    """Full name of the task defined here, or the source's name of the data."""
    expected: float
    tolerance: float
    measured: float | None = None
    runs: Mapping[str, Mapping[str, Any]] = {}
    """Task -> identity of the run it was measured in."""
    reason: str = ""
    """Reason why it was not run."""
    ours: bool = False
    """True if both the method and the task are defined here."""
    here: bool = False
    """True if the data was available."""

    @property
    def difference(self) -> float | None:
        return None if self.measured is None else self.measured - self.expected

    @property
    def verdict(self) -> Verdict:
        return "not run" if self.difference is None else judge(self.difference, self.tolerance)


class Reproduction(NamedTuple):
    """Table and all its cells."""

    paper: PaperSpec
    cells: list[PaperCell]

    @property
    def deviates(self) -> bool:
        return any(cell.verdict in ("above", "below") for cell in self.cells)


class Coverage(NamedTuple):
    """Numbers of reproduced cells of a table."""

    table: str
    defined: int
    ours: int
    """Cells whose method and task are defined here."""
    here: int
    """Cells of `ours` whose data is available."""
    measured: int
    within: int
    above: int
    below: int

    @property
    def counts(self) -> tuple[int, ...]:
        """The numbers without the table's name."""
        return tuple(value for value in self if isinstance(value, int))


def judge(difference: float, tolerance: float) -> Verdict:
    """Return the verdict on a value that differs by `difference` from the published one."""
    if abs(difference) <= tolerance + SLACK:
        return "within"
    return "above" if difference > 0 else "below"


def needed(paper: PaperSpec, known: Known) -> list[tuple[str, str]]:
    """Return the distinct (method, task) of all runs that the table needs and that can be made."""
    return list(
        dict.fromkeys(
            (row.method, task)
            for row in paper.rows
            if row.method is not None and row.method in known.methods
            for name in row.expected
            for task in known.members(name)
        )
    )


def refuse_unknown_tasks(paper: PaperSpec, known: Known) -> None:
    """Raise DefinitionError if the table expects values on undefined tasks."""
    names = [*known.tasks, *known.suites]
    for row in paper.rows:
        for name in row.expected:
            if name not in names:
                raise DefinitionError(
                    f"table '{paper.name}', row '{row.row}': the task '{name}' is not defined."
                    f"{did_you_mean(name, names)} Name one (rankstone list benchmarks), or put the"
                    " value under 'elsewhere'."
                )


def reproduce_table(paper: PaperSpec, records: Found, known: Known) -> Reproduction:
    """Compare every cell of `paper` with `records`."""
    return Reproduction(
        paper, [cell for row in paper.rows for cell in _row(paper, row, records, known)]
    )


def _row(paper: PaperSpec, row: RowSpec, records: Found, known: Known) -> Iterator[PaperCell]:
    tolerance, method = paper.tolerance_of(row), row.method
    defined = method is not None and (method in known.methods or method.startswith(SCORED))
    for task, value in row.expected.items():
        cell = PaperCell(row, task, value, tolerance, ours=defined, here=known.here(task))
        if method is None:
            yield cell._replace(reason="no such method of ours")
        else:
            yield _measured(cell, method, records, known)
    lacking = "no such method of ours" if method is None else "no such task of ours"
    for data, value in row.elsewhere.items():
        yield PaperCell(row, data, value, tolerance, reason=lacking)


def _measured(cell: PaperCell, method: str, records: Found, known: Known) -> PaperCell:
    if not cell.ours:
        near = did_you_mean(method, known.methods)
        return cell._replace(reason=f"the method {method} is not defined.{near}")
    found: dict[str, RunRecord] = {}
    for task in known.members(cell.task):
        record = records[method, task][0] if (method, task) in records else None
        fault = _fault(record, method, task, cell, known)
        if fault or record is None:
            return cell._replace(reason=fault)
        found[task] = record
    measure = cell.row.measure
    if cell.task in known.suites:
        value = mean_of(known.suites[cell.task], measure, found)
    else:
        value = found[cell.task].measures[measure].mean
    runs = {name: record.identity() for name, record in found.items()}
    return cell._replace(measured=value, runs=runs, here=True)


def _fault(record: RunRecord | None, method: str, task: str, cell: PaperCell, known: Known) -> str:
    """Return the reason why `record` has no value for the cell; empty if it has one."""
    mend = again(method, task)
    if method in known.lacking:
        return known.lacking[method]
    if record is None:
        if method.startswith(SCORED):
            return f"not scored ({mend})"
        if method in known.unreleased:
            return f"the weights of {method} were never released"
        return f"not measured ({mend})" if task in known.reach else "the data is not available"
    if record.status != "ok":
        return record.failure()
    if record.task.digest != known.tasks[task]:
        return f"the stored run is of {task} as it was defined before ({mend})"
    defined = known.on.get((method, task)) or known.methods.get(method, record.method.digest)
    if defined != record.method.digest:
        return f"the stored run is of {method} as it was defined before ({mend})"
    if cell.row.measure not in record.measures:
        return f"the stored run has no {cell.row.measure}"
    return ""


def coverage(found: Reproduction) -> Coverage:
    cells = found.cells
    counts = Counter(cell.verdict for cell in cells)
    return Coverage(
        found.paper.name,
        defined=len(cells),
        ours=sum(cell.ours for cell in cells),
        here=sum(cell.ours and cell.here for cell in cells),
        measured=len(cells) - counts["not run"],
        within=counts["within"],
        above=counts["above"],
        below=counts["below"],
    )
