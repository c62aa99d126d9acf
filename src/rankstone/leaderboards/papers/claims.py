"""Claims of papers as executable checks: `leaderboards/claims/*.toml` tested on stored records.

A claim is a relation between runs. Each of its checks is evaluated on every task of the claim, from
stored records alone (see `rankstone.leaderboards.papers.checks`), and comes out as a value with its
interval and the bound that the claim puts on it.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from pydantic import Field, model_validator

from rankstone.errors import ResultsError, did_you_mean
from rankstone.leaderboards.papers.checks import CHECKS, Cell, Value
from rankstone.results.store import Found
from rankstone.strict import Spec

Verdict = Literal["holds", "does not hold", "not testable here"]
UNMEASURED = "not measured"
ACROSS = ("difference", "share", "ratio")
"""Kinds of check that compare values and no documents, and so runs of two tasks as well."""


class CheckSpec(Spec):
    """One relation: a table `[[checks]]` of a claim."""

    LATER = frozenset({"than_on"})

    kind: str
    """A key of `rankstone.leaderboards.papers.checks.CHECKS`."""
    of: str
    """The method that the claim speaks of."""
    than: str | None = None
    """The method that it is compared with."""
    truth: str | None = None
    """The exact method that both approximate."""
    measure: str | None = None
    figure: str | None = None
    k: int | None = Field(default=None, ge=1)
    at: int | None = Field(default=None, ge=1)
    level: float | None = Field(default=None, gt=0, le=1)
    at_least: float | None = None
    at_most: float | None = None
    tasks: tuple[str, ...] = ()
    """Only these of the claim's tasks."""
    than_on: str | None = None
    """The task that `than` was run on, if another: one of the same queries."""

    def task_of(self, role: str, task: str) -> str:
        """The task that the run of `role` is of, where the check is made on `task`."""
        return self.than_on or task if role == "than" else task

    @property
    def methods(self) -> dict[str, str]:
        """Role -> full name of the method whose run it needs."""
        roles = {"of": self.of, "than": self.than, "truth": self.truth}
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
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("either 'at_least' or 'at_most' is the bound of a check")
        return self


class ClaimSpec(Spec):
    """One claim: the content of `leaderboards/claims/<name>.toml`."""

    name: str
    statement: str
    """Statement of the paper, in a sentence."""
    source: str
    """Authors, venue, where in the paper."""
    tasks: tuple[str, ...] = ()
    differs: str = ""
    """Differences between this test and the paper's own."""
    untestable: str = ""
    """Reason why nobody can test it with public weights; it then has no checks."""
    checks: tuple[CheckSpec, ...] = ()

    DOCUMENTATION = frozenset({"statement", "source", "differs"})

    @model_validator(mode="after")
    def _is_testable_or_says_why(self) -> ClaimSpec:
        if bool(self.untestable) == bool(self.checks):
            raise ValueError("a claim has either 'checks' or a reason why it is 'untestable'")
        if self.checks and not self.tasks:
            raise ValueError("a claim with checks needs 'tasks'")
        strange = {task for check in self.checks for task in check.tasks} - set(self.tasks)
        if strange:
            raise ValueError(f"'{min(strange)}' is not among the claim's 'tasks'")
        return self

    def cells(self) -> list[tuple[str, str]]:
        """(method, task) of every run that the checks need, each once."""
        found = [
            (method, check.task_of(role, task))
            for check in self.checks
            for task in check.tasks or self.tasks
            for role, method in check.methods.items()
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
    def holds(self) -> bool | None:
        """True where the value keeps the bound; None without a value."""
        if self.value is None:
            return None
        if self.check.at_least is not None:
            return self.value.value >= self.check.at_least
        return self.value.value <= (self.check.at_most or 0.0)

    @property
    def clear(self) -> bool:
        """True where the whole interval lies on one side of the bound."""
        value = self.value
        if value is None or value.low is None or value.high is None:
            return value is not None
        least, most = self.check.at_least, self.check.at_most
        bound = least if least is not None else most
        assert bound is not None
        return value.low >= bound or value.high <= bound


class Result(NamedTuple):
    """A claim and all its findings."""

    claim: ClaimSpec
    findings: list[Finding]

    @property
    def verdict(self) -> Verdict:
        """It holds where every check does, on every task; one that fails is enough against it."""
        found = [finding.holds for finding in self.findings]
        if False in found:
            return "does not hold"
        return "not testable here" if None in found or not found else "holds"

    @property
    def reason(self) -> str:
        """Reason why it is not testable."""
        reasons = dict.fromkeys(finding.reason for finding in self.findings if finding.reason)
        return self.claim.untestable or "; ".join(reasons)


def evaluate_claim(claim: ClaimSpec, records: Found) -> Result:
    """Every check of `claim` on every task, from `records`."""
    findings = [
        _finding(check, task, records)
        for check in claim.checks
        for task in check.tasks or claim.tasks
    ]
    return Result(claim, findings)


def _finding(check: CheckSpec, task: str, records: Found) -> Finding:
    cells: dict[str, Cell] = {}
    for role, method in check.methods.items():
        on = check.task_of(role, task)
        record, path = records.get((method, on), (None, None))
        if record is None or path is None:
            mend = f" (rankstone score FILE --on {on} --name {method})"
            scored = mend if method.startswith("runs/") else ""
            return Finding(check, task, None, f"{method} on {on}: {UNMEASURED}{scored}")
        if record.status != "ok":
            return Finding(check, task, None, record.failure())
        cells[role] = Cell(record, path)
    try:
        return Finding(check, task, CHECKS[check.kind].function(check, cells), "")
    except ResultsError as error:
        return Finding(check, task, None, str(error))
