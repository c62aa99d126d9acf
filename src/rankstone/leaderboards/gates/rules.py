"""Rules of a gate: the losses that `gate.toml` allows a candidate."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from rankstone.errors import DefinitionError, did_you_mean
from rankstone.evaluation.family import Correction
from rankstone.files import PathLike
from rankstone.leaderboards.costs import COMPARED
from rankstone.strict import Spec, build_spec, read_toml

AB_LEVEL = 0.05
"""Two-sided level of a ratio's interval, divided among the looks at the rounds (Bonferroni)."""


class QualityRule(Spec):
    """Allowed loss of a measure: a table `[[quality]]`."""

    measure: str | None = None
    """None: each task's headline, or a suite's first measure."""
    allowance: float = Field(default=0.005, ge=0)
    """Largest permitted drop of the mean."""
    hard_limit: float = Field(default=0.02, ge=0)
    """An undecided drop fails if it may exceed this limit."""
    tasks: tuple[str, ...] = ()
    """Tasks that the rule applies to; empty: all."""
    suite: str | None = None
    """Judge the mean over this suite, averaged as the suite defines, instead of single tasks."""

    @model_validator(mode="after")
    def _limits_are_in_order(self) -> QualityRule:
        if self.hard_limit < self.allowance:
            raise ValueError("'hard_limit' is below 'allowance'")
        if self.suite and self.tasks:
            raise ValueError("'suite' and 'tasks' exclude each other")
        return self


class CostRule(Spec):
    """Allowed increase of a cost: a table `[[cost]]`."""

    figure: str
    """Compared from records: `peak RSS`, `index`. With --ab only: `median latency`, `p95 latency`,
    `p99 latency`."""
    allowance: float = Field(gt=0)
    """Largest permitted ratio of candidate to baseline."""
    tasks: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _figure_is_known(self) -> CostRule:
        if self.figure not in COMPARED:
            raise ValueError(
                f"no figure '{self.figure}'.{did_you_mean(self.figure, COMPARED)}"
                f" Known: {', '.join(COMPARED)}"
            )
        return self


class LoadRule(Spec):
    """Bound on the candidate's latency under load, on its own machine: a table `[[load]]`."""

    rate: float = Field(gt=0)
    """Requests per second, one of the rates of `rankstone load --rate`."""
    p99_ms: float = Field(gt=0)
    tasks: tuple[str, ...] = ()


class GateRules(Spec):
    """Content of a rules file."""

    level: float = Field(default=0.01, gt=0, lt=1)
    """Family-wise rate of false alarms over all quality rules and cells: the probability that a
    candidate without any drop above its allowance fails."""
    correction: Correction = "holm"
    """Correction for multiple tests; `max-t` has more power for many methods on equal queries."""
    undecided: Literal["report", "pass", "fail"] = "report"
    """Outcome of undecided cells: exit code 2 (`report`), pass, or fail."""
    quality: tuple[QualityRule, ...] = (QualityRule(),)
    cost: tuple[CostRule, ...] = ()
    load: tuple[LoadRule, ...] = ()


def rules_of(rules: PathLike | GateRules | None) -> GateRules:
    """Return the given rules, those of a file, or the default ones.

    Raises DefinitionError if the file is missing or invalid.
    """
    if rules is None or isinstance(rules, GateRules):
        return rules or GateRules()
    path = Path(rules)
    if not path.exists():
        raise DefinitionError(
            f"{path}: no such file of rules. Correct --rules, or leave it out: a headline may then"
            " drop .005, and .02 at most."
        )
    return build_spec(GateRules, read_toml(path), path)


def ab_rules(rules: PathLike | GateRules | None) -> tuple[CostRule, ...]:
    """Return the cost rules; by default, the median latency may be 1.1 times the baseline's."""
    stated = () if rules is None else rules_of(rules).cost
    return stated or (CostRule(figure="median latency", allowance=1.1),)
