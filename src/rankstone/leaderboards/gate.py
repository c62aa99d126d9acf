"""Judge whether a candidate may replace a baseline: regressions of quality and cost.

Quality fails where the mean drops by more than is allowed and the paired permutation test supports
that it drops at all, or where it drops by more than the hard limit. Costs that depend on the
machine are compared on one machine only. What cannot be compared is neither a pass nor a failure,
and a baseline or a candidate that is not there is a failure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from pydantic import Field, model_validator

from rankstone.arrays import Floats
from rankstone.errors import DefinitionError, ResultsError, did_you_mean
from rankstone.evaluation.intervals import bootstrap
from rankstone.evaluation.significance import TIE, detectable, holm, permutation_test, ratio
from rankstone.files import PathLike
from rankstone.leaderboards.compare import obstacles, paired_values
from rankstone.leaderboards.costs import BY_NAME, COMPARED, obstacle
from rankstone.results.record import RunRecord
from rankstone.results.store import ResultStore, Stored
from rankstone.strict import Spec, build_spec, read_toml

Verdict = Literal["pass", "fail", "incomparable"]
Cells = Mapping[tuple[str, str], Stored]
"""(method, task) -> record. Both sides name a cell alike."""


class QualityRule(Spec):
    """Allowed loss of a measure: a table `[[quality]]`."""

    measure: str | None = None
    """None: each task's headline."""
    allowance: float = Field(default=0.005, ge=0)
    """Drops of the mean up to it pass."""
    hard_limit: float = Field(default=0.02, ge=0)
    """A drop above it fails, whatever the test says."""
    level: float = Field(default=0.01, gt=0, lt=1)
    """Level of the one-sided paired test, by Holm's method over all cells of the gate: the rate at
    which a change without effect fails. A gate with false alarms is soon switched off."""
    tasks: tuple[str, ...] = ()
    """Only these; empty: all."""

    @model_validator(mode="after")
    def _limits_are_in_order(self) -> QualityRule:
        if self.hard_limit < self.allowance:
            raise ValueError("'hard_limit' is below 'allowance'")
        return self


class CostRule(Spec):
    """Allowed increase of a cost: a table `[[cost]]`."""

    figure: str
    """`median latency`, `p95 latency`, `p99 latency`, `peak RSS` or `index`."""
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


class GateRules(Spec):
    """The content of a rules file."""

    quality: tuple[QualityRule, ...] = (QualityRule(),)
    cost: tuple[CostRule, ...] = ()


class Judgement(NamedTuple):
    """One rule on one cell."""

    task: str
    method: str
    rule: str
    verdict: Verdict
    detail: str
    baseline: float | None = None
    candidate: float | None = None
    low: float | None = None
    """Ends of the interval of the difference, or of the ratio where a cost was measured again."""
    high: float | None = None
    p: float | None = None
    """Adjusted by Holm's method."""
    visible: float | None = None
    """The minimum detectable drop on these queries with 80% power."""


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


def judge_stored(
    store: ResultStore,
    baseline: str,
    candidate: str,
    rules: GateRules,
    *,
    tasks: Sequence[str] | None = None,
) -> list[Judgement]:
    """Judge `candidate` by `baseline`: each a folder of records, or a method of `store`."""
    sides = [store.side(name, label=candidate) for name in (baseline, candidate)]
    if tasks is not None:
        kept = set(tasks)
        sides = [{cell: s for cell, s in side.items() if cell[1] in kept} for side in sides]
        for task in sorted(kept - {task for side in sides for _, task in side}):
            raise ResultsError(f"neither side has a record of '{task}'. Correct --on.")
    return judge(sides[0], sides[1], rules)


def judge(baseline: Cells, candidate: Cells, rules: GateRules) -> list[Judgement]:
    """Every rule on every cell of either side, cell by cell."""
    cells = list(dict.fromkeys([*baseline, *candidate]))
    if not cells:
        return [Judgement("", "", "records", "fail", "neither side has a record: nothing to judge")]
    tested = _tested(cells, baseline, candidate, rules)
    found: list[Judgement] = []
    for cell in cells:
        missing = _missing(cell, baseline, candidate)
        if missing is not None:
            found.append(missing)
            continue
        pair = baseline[cell], candidate[cell]
        found += [one for (where, _), one in tested.items() if where == cell]
        found += [_cost(cell, rule, pair) for rule in rules.cost if _applies(rule.tasks, cell)]
    return found


def exit_code(judgements: Sequence[Judgement]) -> int:
    """1 if anything fails, else 2 if anything cannot be compared, else 0."""
    verdicts = {one.verdict for one in judgements}
    return 1 if "fail" in verdicts else 2 if "incomparable" in verdicts else 0


def _applies(tasks: Sequence[str], cell: tuple[str, str]) -> bool:
    return not tasks or cell[1] in tasks


def _missing(cell: tuple[str, str], baseline: Cells, candidate: Cells) -> Judgement | None:
    """A failure where one side has no figures for the cell."""
    for side, cells in (("baseline", baseline), ("candidate", candidate)):
        stored = cells.get(cell)
        if stored is None:
            what = (
                f"the {side} has no record of it, and what is not there cannot pass; measure it to"
                f" where that side's records are: rankstone run METHOD --on {cell[1]} --results DIR"
            )
        elif stored[0].status != "ok":
            what = f"the {side} ended as {stored[0].status}: {stored[0].failure()}"
        else:
            continue
        return Judgement(cell[1], cell[0], "record", "fail", what)
    return None


class _Tested(NamedTuple):
    cell: tuple[str, str]
    rule: QualityRule
    measure: str
    of: Floats
    than: Floats

    @property
    def differences(self) -> Floats:
        moved: Floats = self.of - self.than
        moved[np.abs(moved) <= TIE] = 0.0
        return moved


def _tested(
    cells: Sequence[tuple[str, str]], baseline: Cells, candidate: Cells, rules: GateRules
) -> dict[tuple[tuple[str, str], QualityRule], Judgement]:
    """The judgements of quality, their p values adjusted together."""
    found: dict[tuple[tuple[str, str], QualityRule], Judgement] = {}
    tests: list[_Tested] = []
    for cell in cells:
        if _missing(cell, baseline, candidate) is not None:
            continue
        for rule in (rule for rule in rules.quality if _applies(rule.tasks, cell)):
            made = _test(cell, rule, baseline[cell], candidate[cell])
            if isinstance(made, Judgement):
                found[cell, rule] = made
            else:
                tests.append(made)
    p_values = holm([permutation_test(test.differences, alternative="less") for test in tests])
    for test, p in zip(tests, p_values, strict=True):
        found[test.cell, test.rule] = _quality(test, p, len(tests))
    return found


def _test(
    cell: tuple[str, str], rule: QualityRule, baseline: Stored, candidate: Stored
) -> _Tested | Judgement:
    """The values of both sides, or why they cannot be compared."""
    measure = rule.measure or candidate[0].task.headline
    reasons = list(obstacles(candidate[0], baseline[0]))
    if not reasons:
        try:
            _, of, than = paired_values(candidate, baseline, measure)
            return _Tested(cell, rule, measure, of, than)
        except ResultsError as error:
            reasons = [str(error)]
    return Judgement(cell[1], cell[0], measure, "incomparable", "; ".join(reasons))


def _quality(test: _Tested, p: float, n_tests: int) -> Judgement:
    rule, moved = test.rule, test.differences
    drop = -float(moved.mean())
    low, high = bootstrap(moved[:, None])
    visible = detectable(
        moved, level=rule.level / n_tests, least=rule.allowance, most=rule.hard_limit
    )
    name = f"{test.measure} may drop {rule.allowance:g}, at most {rule.hard_limit:g}"
    verdict: Verdict = "pass"
    if drop > rule.hard_limit:
        verdict, detail = "fail", f"drops {drop:.4f}, more than the hard limit {rule.hard_limit:g}"
    elif drop > rule.allowance and p <= rule.level:
        verdict = "fail"
        detail = f"drops {drop:.4f}, more than {rule.allowance:g}, and p = {p:.4f} supports it"
    elif drop > rule.allowance:
        detail = f"drops {drop:.4f}, more than {rule.allowance:g}, but p = {p:.4f}"
    else:
        detail = f"drops {drop:.4f}" if drop > 0 else f"rises {-drop:.4f}"
    if moved.any():
        detail += (
            f"; minimum detectable drop {visible:.3f} with 80% power on {len(moved):,} queries"
        )
    else:
        detail = f"no query of {len(moved):,} differs"
    method, task = test.cell
    means = float(test.than.mean()), float(test.of.mean())
    ends = float(low[0]), float(high[0])
    return Judgement(task, method, name, verdict, detail, *means, *ends, p, visible)


def _cost(cell: tuple[str, str], rule: CostRule, pair: tuple[Stored, Stored]) -> Judgement:
    baseline, candidate = pair[0][0], pair[1][0]
    name = f"{rule.figure} at most {rule.allowance:g} times"
    cost = BY_NAME[rule.figure]
    reason = obstacle(cost, candidate, baseline)
    if reason:
        detail = f"{reason}. Measure both here, interleaved: --ab"
        return Judgement(cell[1], cell[0], name, "incomparable", detail)
    values = cost.of(baseline), cost.of(candidate)
    if values[0] is None or values[1] is None or values[0] <= 0:
        return Judgement(cell[1], cell[0], name, "incomparable", "one of them has no such figure")
    times = values[1] / values[0]
    verdict: Verdict = "fail" if times > rule.allowance else "pass"
    return Judgement(cell[1], cell[0], name, verdict, f"{times:.3f} times the baseline", *values)


def judge_ratio(
    rule: CostRule, baseline: Sequence[RunRecord], candidate: Sequence[RunRecord]
) -> Judgement:
    """A rule of cost on rounds measured in turns; fails where the whole interval is too high."""
    cost, record = BY_NAME[rule.figure], candidate[0]
    sides = [[cost.of(one) for one in side] for side in (baseline, candidate)]
    known = [[value for value in side if value] for side in sides]
    name = f"{rule.figure} at most {rule.allowance:g} times"
    cell = record.task.name, record.method.name
    if len(known[0]) != len(baseline) or len(known[1]) != len(candidate):
        return Judgement(*cell, name, "incomparable", "a round has no such figure")
    mean, low, high = ratio(*known)
    detail = f"{mean:.3f} times the baseline ({low:.3f} to {high:.3f}, {len(baseline)} rounds)"
    verdict: Verdict = "fail" if low > rule.allowance else "pass"
    if verdict == "pass" and high > rule.allowance:
        detail += "; more rounds would tell more"
    middle = [float(np.median(side)) for side in known]
    return Judgement(*cell, name, verdict, detail, middle[0], middle[1], low, high)
