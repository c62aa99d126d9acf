"""Claims of papers as executable checks: `leaderboards/claims/*.toml`, tested on stored records.

A claim is a relation between runs. Each of its checks is evaluated on every task of the claim, from
stored records alone (see `rankstone.leaderboards.papers.checks`). The result is a value with its
interval, which is compared with the bound that the claim states.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

from pydantic import Field, model_validator

from rankstone.errors import RankstoneError, ResultsError, did_you_mean
from rankstone.leaderboards.compare import refuse_other_data
from rankstone.leaderboards.papers.checks import CHECKS, Value
from rankstone.leaderboards.papers.stored_cells import Cell, Folds, Lengths, Relevant, unopened
from rankstone.results.record import RunRecord
from rankstone.results.side_files import SCORED, again
from rankstone.results.store import Found
from rankstone.strict import Spec

Verdict = Literal["holds", "does not hold", "inconclusive", "not tested"]
UNMEASURED = "not measured"
JUDGED = "judgements"
"""The truth that is labelled relevance, and no run."""
BOUNDS: Mapping[str, Callable[[float, float], bool]] = {
    "at_least": operator.ge, "above": operator.gt, "at_most": operator.le, "below": operator.lt,
}  # fmt: skip
"""Key of a bound -> comparison that a value has to satisfy."""
ACROSS = ("difference", "share", "ratio", "widening")
"""Kinds of check that compare values, not documents, so that the runs may be of two tasks."""


class CheckSpec(Spec):
    """One relation: a table `[[checks]]` of a claim."""

    DOCUMENTATION = frozenset({"reported"})
    LATER = frozenset({"than_on", "than_measure", "unseen", "above", "below", "folds", "along"})

    kind: str
    """A key of `rankstone.leaderboards.papers.checks.CHECKS`."""
    of: str
    """Method that the claim is about."""
    than: str | None = None
    """Method that it is compared with."""
    truth: str | None = None
    """Exact method that both approximate."""
    measure: str | None = None
    figure: str | None = None
    k: int | None = Field(default=None, ge=1)
    at: int | None = Field(default=None, ge=1)
    level: float | None = Field(default=None, gt=0, le=1)
    reported: str = ""
    """Finding as stated in the paper."""
    than_measure: str | None = None
    """Measure of `than`, if different, such as one at equal cost."""
    unseen: bool = False
    """Only queries whose relevant documents are not relevant in training."""
    at_least: float | None = None
    above: float | None = None
    """The same, without equality."""
    at_most: float | None = None
    below: float | None = None
    """The same, without equality."""
    tasks: tuple[str, ...] = ()
    """Subset of the claim's tasks; empty: all."""
    than_on: str | None = None
    """Task that `than` was run on, if different: one with the same queries. For a `widening`, the
    task on which both were run before."""
    folds: int | None = Field(default=None, ge=2)
    """Number of folds of the task that were run; their queries are pooled."""
    along: tuple[str, ...] | None = None
    """Tasks whose texts have other lengths than those of the check's task, for a `growth`."""

    def tasks_of(self, role: str, task: str) -> list[str]:
        """Return the tasks of the runs of `role`, for the check on `task`."""
        before = "than" if self.kind != "widening" else "_before"
        on, k = self.than_on or task if role.endswith(before) else task, self.folds
        return (
            [*(self.along or ()), on]
            if k is None
            else [f"{on}@fold{number}of{k}" for number in range(1, k + 1)]
        )

    def joined(self, cells: Sequence[Cell]) -> Cell:
        """Return the cells of one role's tasks as one."""
        if self.along is not None:
            return Lengths(cells)
        return cells[0] if self.folds is None else Folds(cells)

    @property
    def methods(self) -> dict[str, str]:
        """Role -> full name of the method whose run is needed."""
        truth = None if self.truth == JUDGED else self.truth
        roles = {"of": self.of, "than": self.than, "truth": truth}
        if self.kind == "widening":
            roles |= {"of_before": self.of, "than_before": self.than}
        return {role: method for role, method in roles.items() if method is not None}

    @model_validator(mode="after")
    def _is_complete(self) -> CheckSpec:
        check = CHECKS.get(self.kind)
        if check is None:
            raise ValueError(f"no kind '{self.kind}'.{did_you_mean(self.kind, CHECKS)}")
        missing = [key for key in check.needs if getattr(self, key) is None]
        if missing:
            raise ValueError(f"a check of the kind '{self.kind}' needs the key '{missing[0]}'")
        if self.than_on and (self.than is None or self.kind not in ACROSS):
            raise ValueError(f"'than_on' is for {', '.join(ACROSS)}, with 'than'")
        if self.truth != JUDGED and self.kind == "candidates" and self.k is None:
            raise ValueError("candidates of a run's best need 'k'")
        if self.truth == JUDGED and self.kind != "candidates":
            raise ValueError(f"'{JUDGED}' is a truth of candidates alone")
        later = self.than_measure or self.unseen or self.folds
        if later and self.kind not in ("difference", "share"):
            raise ValueError("'than_measure', 'unseen' and 'folds' are for difference and share")
        if self.along is not None and (self.kind != "growth" or not self.along):
            raise ValueError("'along' names the other tasks of a growth")
        if len(self._bounds) != 1:
            raise ValueError(f"one of {', '.join(BOUNDS)} is the bound of a check")
        return self

    @property
    def _bounds(self) -> dict[str, float]:
        given = {name: getattr(self, name) for name in BOUNDS}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def bound(self) -> tuple[str, float]:
        """Key and value of the bound."""
        ((name, value),) = self._bounds.items()
        return name, value

    def keeps(self, value: float) -> bool:
        """Return True if `value` satisfies the bound."""
        name, bound = self.bound
        return bool(BOUNDS[name](value, bound))


class ClaimSpec(Spec):
    """One claim, from `leaderboards/claims/<name>.toml`."""

    name: str
    statement: str
    """Statement of the paper in one sentence."""
    source: str
    """Authors, venue, location in the paper."""
    tasks: tuple[str, ...] = ()
    differs: str = ""
    """Differences between this test and the paper's own; empty: the setting is the paper's."""
    control: bool = False
    """True for a control experiment that no paper claims."""
    untestable: str = ""
    """Reason why the claim cannot be tested with public weights; it then has no checks."""
    checks: tuple[CheckSpec, ...] = ()

    DOCUMENTATION = frozenset({"statement", "source", "differs", "control"})

    @model_validator(mode="after")
    def _is_testable_or_says_why(self) -> ClaimSpec:
        if bool(self.untestable) == bool(self.checks):
            raise ValueError("a claim has either 'checks' or a reason why it is 'untestable'")
        if self.checks and not self.tasks:
            raise ValueError("a claim with checks needs 'tasks'")
        silent = not self.control and any(not check.reported for check in self.checks)
        if silent:
            raise ValueError("a check of a paper's claim says in 'reported' what the paper found")
        strange = {task for check in self.checks for task in check.tasks} - set(self.tasks)
        if strange:
            raise ValueError(f"'{min(strange)}' is not among the claim's 'tasks'")
        return self

    def pairs(self) -> list[tuple[CheckSpec, str]]:
        """Return every check with each of its tasks."""
        return [(check, task) for check in self.checks for task in check.tasks or self.tasks]

    def cells(self) -> list[tuple[str, str]]:
        """Return the distinct (method, task) of all runs that the checks need."""
        found = [
            (method, on)
            for check, task in self.pairs()
            for role, method in check.methods.items()
            for on in check.tasks_of(role, task)
        ]
        return list(dict.fromkeys(found))


class Finding(NamedTuple):
    """One check on one task."""

    check: CheckSpec
    task: str
    value: Value | None
    reason: str
    """Reason why there is no value."""

    @property
    def verdict(self) -> Verdict:
        """Verdict by the position of the interval; inconclusive if the bound lies inside."""
        value = self.value
        if value is None:
            return "not tested"
        if value.low is None or value.high is None:
            return "inconclusive"
        sides = {self.check.keeps(value.low), self.check.keeps(value.high)}
        if len(sides) == 2:
            return "inconclusive"
        return "holds" if sides == {True} else "does not hold"


class Result(NamedTuple):
    """A claim and all its findings."""

    claim: ClaimSpec
    findings: list[Finding]
    seconds: float | None = None
    """Wall time of its runs and all their trainings; None if one is unknown."""

    @property
    def verdict(self) -> Verdict:
        """Verdict over all findings: a claim holds if every check holds on every task, and does not
        hold if one check does not."""
        found = {finding.verdict for finding in self.findings} or {"not tested"}
        order: tuple[Verdict, ...] = ("does not hold", "not tested", "inconclusive", "holds")
        return next(verdict for verdict in order if verdict in found)

    @property
    def reason(self) -> str:
        """Reason why the claim is not tested."""
        reasons = dict.fromkeys(finding.reason for finding in self.findings if finding.reason)
        return self.claim.untestable or "; ".join(reasons)


def evaluate_claim(claim: ClaimSpec, records: Found, relevant: Relevant = unopened) -> Result:
    """Evaluate every check of `claim` on every task, from `records` and relevance judgements."""
    findings = [_finding(check, task, records, relevant) for check, task in claim.pairs()]
    runs = [records[cell][0] for cell in claim.cells() if cell in records]
    return Result(claim, findings, seconds(runs) if len(runs) == len(claim.cells()) else None)


def untested(claim: ClaimSpec, reason: str) -> Result:
    """Return the result of a claim without evaluated checks, with the reason."""
    return Result(claim, [Finding(check, task, None, reason) for check, task in claim.pairs()])


def seconds(runs: Sequence[RunRecord]) -> float | None:
    """Return the wall time of the runs, plus that of trainings reused from earlier runs."""
    walls = [run.profile.wall_s if run.profile else None for run in runs]
    known = [wall for wall in walls if wall is not None]
    trainings = [training for run in runs for training in run.training]
    here = {training.checkpoint for training in trainings if not training.reused}
    before = {one.checkpoint: one.wall_s for one in trainings if one.checkpoint not in here}
    complete = bool(runs) and len(known) == len(walls)
    return sum(known) + sum(before.values()) if complete else None


def _finding(check: CheckSpec, task: str, records: Found, relevant: Relevant) -> Finding:
    cells, compared = dict[str, Cell](), list[Cell]()
    try:
        for role, method in check.methods.items():
            tasks = check.tasks_of(role, task)
            found = [_cell(method, on, records, relevant) for on in tasks]
            cells[role] = check.joined(found)
            compared += found
        for on in dict.fromkeys(cell.record.task.name for cell in compared):
            refuse_other_data([c.record for c in compared if c.record.task.name == on])
        return Finding(check, task, CHECKS[check.kind].function(check, cells), "")
    except RankstoneError as error:
        return Finding(check, task, None, str(error))


def _cell(method: str, task: str, records: Found, relevant: Relevant) -> Cell:
    record, path = records.get((method, task), (None, None))
    if record is None or path is None:
        scored = f" ({again(method, task)})" if method.startswith(SCORED) else ""
        raise ResultsError(f"{method} on {task}: {UNMEASURED}{scored}")
    if record.status != "ok":
        raise ResultsError(record.failure())
    return Cell(record, path, relevant)
