"""Judgement of one rule on one cell, with its verdict and outcome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from rankstone.leaderboards.gates.rules import GateRules
from rankstone.results.store import Stored

Verdict = Literal[
    "regression", "equivalent", "undecided",  # quality
    "exceeded", "within",  # a recorded cost, or a bound under load
    "shown", "excluded", "not shown",  # a slow-down in interleaved rounds
    "incomparable", "missing",
]  # fmt: skip
Outcome = Literal["pass", "fail", "undecided", "incomparable"]
OUTCOMES: Mapping[Verdict, Outcome] = {
    "regression": "fail", "equivalent": "pass", "undecided": "undecided",
    "exceeded": "fail", "within": "pass",
    "shown": "fail", "excluded": "pass", "not shown": "undecided",
    "incomparable": "incomparable", "missing": "fail",
}  # fmt: skip
CellName = tuple[str, str]
Cells = Mapping[CellName, Stored]
"""(method, task) -> record; both sides use the same names."""


class Judgement(NamedTuple):
    """One rule on one cell."""

    task: str
    method: str
    rule: str
    verdict: Verdict
    outcome: Outcome
    detail: str
    baseline: float | None = None
    candidate: float | None = None
    low: float | None = None
    """Ends of the simultaneous interval of the drop, or of a cost's ratio in interleaved rounds;
    None if there is no interval, or too few queries for one."""
    high: float | None = None
    p: float | None = None
    """p-value of the hypothesis that the drop is within the allowance, unadjusted."""
    adjusted: float | None = None
    """p-value adjusted over the family."""
    detectable: float | None = None
    """Minimum detectable drop on these queries with 80% power."""
    needed: int | None = None
    """Number of queries that would decide an undecided cell."""
    drop: float | None = None
    """Mean of the baseline minus that of the candidate."""
    remark: str = ""
    """Part of `detail` that is not in another field."""
    seconds: float | None = None
    """Wall time of the candidate's runs; for stored runs only on the first rule of each cell."""


def judged(cell: CellName, rule: str, verdict: Verdict, detail: str) -> Judgement:
    return Judgement(cell[1], cell[0], rule, verdict, OUTCOMES[verdict], detail)


def applies(tasks: Sequence[str], cell: CellName) -> bool:
    return not tasks or cell[1] in tasks


Pair = tuple[Stored, Stored]
"""The records of baseline and candidate."""


def settled(made: Judgement, rules: GateRules, *, may_be_large: bool) -> Judgement:
    """Give an undecided judgement the outcome that the rules define for it."""
    if made.verdict != "undecided" or rules.undecided == "report":
        return made
    if rules.undecided == "pass" and may_be_large:
        more = "the drop may be above the hard limit"
        detail, remark = (
            "; ".join(filter(None, (text, more))) for text in (made.detail, made.remark)
        )
        return made._replace(detail=detail, remark=remark)
    return made._replace(outcome=rules.undecided)
