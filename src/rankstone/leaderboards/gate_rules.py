"""Rules of a gate: what a candidate may lose, as a file `gate.toml` states it."""

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
"""Two-sided level of the interval of a ratio, shared by all looks at the rounds (Bonferroni)."""


class QualityRule(Spec):
    """Allowed loss of a measure: a table `[[quality]]`."""

    measure: str | None = None
    """None: each task's headline; of a suite, its first measure."""
    allowance: float = Field(default=0.005, ge=0)
    """Drops of the mean up to it are permitted."""
    hard_limit: float = Field(default=0.02, ge=0)
    """A drop that may be larger than this never passes as undecided."""
    tasks: tuple[str, ...] = ()
    """Only these; empty: all."""
    suite: str | None = None
    """Judge the mean over this suite, as the suite itself averages, instead of single tasks."""

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
    """Recorded and compared: `peak RSS`, `index`. Judged by --ab alone: `median latency`,
    `p95 latency`, `p99 latency`."""
    allowance: float = Field(gt=0)
    """The largest ratio of candidate to baseline that passes."""
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
    """Requests per second, one of those of `rankstone load --rate`."""
    p99_ms: float = Field(gt=0)
    tasks: tuple[str, ...] = ()


class GateRules(Spec):
    """The content of a rules file."""

    level: float = Field(default=0.01, gt=0, lt=1)
    """Rate at which a candidate without any drop above its allowance fails, over all rules of
    quality and cells together. A gate with false alarms is soon switched off."""
    correction: Correction = "holm"
    """`max-t` is more powerful where many methods are judged on the same queries."""
    undecided: Literal["report", "pass", "fail"] = "report"
    """Outcome of undecided cells: exit code 2 (`report`), pass, or fail."""
    quality: tuple[QualityRule, ...] = (QualityRule(),)
    cost: tuple[CostRule, ...] = ()
    load: tuple[LoadRule, ...] = ()


def rules_of(rules: PathLike | GateRules | None) -> GateRules:
    """Return the rules themselves, those of a file, or the default ones.

    Raises DefinitionError where the file is absent, or something in it is wrong.
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
    """The rules of cost; by default, a median latency of 1.1 times passes."""
    stated = () if rules is None else rules_of(rules).cost
    return stated or (CostRule(figure="median latency", allowance=1.1),)
