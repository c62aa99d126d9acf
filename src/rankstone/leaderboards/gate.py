"""Regression check of a candidate against a baseline, in quality and cost.

Every rule gives a verdict on every cell. For quality, the verdict depends on the simultaneous
confidence interval of the drop: *regression* if it lies above the allowance, *equivalent* if it
lies within, *undecided* if it contains the allowance. The family-wise rate of false regressions is
`level`, whatever the number of cells and queries (`rankstone.evaluation.family`). Reproducible
costs are compared as recorded. Time is judged only by `--ab`, as a slow-down that is *shown*,
*excluded* or *not shown*, or by bounds on the candidate's p99 under load. Missing or incomparable
records never pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from rankstone.errors import ResultsError, did_you_mean
from rankstone.evaluation.sign_flips import TIE
from rankstone.evaluation.significance import ratio
from rankstone.leaderboards.costs import BY_NAME, obstacle
from rankstone.leaderboards.gates.judgement import OUTCOMES as OUTCOMES
from rankstone.leaderboards.gates.judgement import (
    CellName,
    Cells,
    Pair,
    Verdict,
    applies,
    judged,
    settled,
)
from rankstone.leaderboards.gates.judgement import Judgement as Judgement
from rankstone.leaderboards.gates.judgement import Outcome as Outcome
from rankstone.leaderboards.gates.quality import judge_quality
from rankstone.leaderboards.gates.rules import CostRule, GateRules, LoadRule
from rankstone.leaderboards.loads.bound import bounded
from rankstone.results.record import RunRecord
from rankstone.results.store import ResultStore
from rankstone.specs import SuiteSpec


def judge_stored(
    store: ResultStore,
    baseline: str,
    candidate: str,
    rules: GateRules,
    *,
    tasks: Sequence[str] | None,
    suites: Mapping[str, SuiteSpec],
) -> list[Judgement]:
    """Judge `candidate` against `baseline`: each a folder of records, or a method of `store`.

    Raises:
        ResultsError: a side is neither, both have no records, or no record is of one of `tasks`.
    """
    sides = [store.side(name, label=candidate) for name in (baseline, candidate)]
    empty = [name for name, side in zip((baseline, candidate), sides, strict=True) if not side]
    absent = [name for name in empty if not Path(name).expanduser().is_dir()]
    if names := absent if any(sides) else empty:
        raise ResultsError(
            f"{' and '.join(dict.fromkeys(names))}: no folder with records, and no method with"
            f" records in {store.folder}. Correct the name. (rankstone records ls)"
        )
    if tasks is not None:
        kept = set(tasks)
        sides = [{cell: s for cell, s in side.items() if cell[1] in kept} for side in sides]
        for task in sorted(kept - {task for side in sides for _, task in side}):
            raise ResultsError(f"neither side has a record of '{task}'. Correct --on.")
    return judge(sides[0], sides[1], rules, suites)


def judge(
    baseline: Cells,
    candidate: Cells,
    rules: GateRules,
    suites: Mapping[str, SuiteSpec] | None = None,
) -> list[Judgement]:
    """Apply every rule to every cell of either side, in the order of the cells, and report missing
    records and unused rules."""
    cells = list(dict.fromkeys([*baseline, *candidate]))
    if not cells:
        return [judged(("", ""), "records", "missing", "neither side has a record")]
    missing = {cell: made for cell in cells if (made := _missing(cell, baseline, candidate))}
    there = {c: (baseline[c], candidate[c]) for c in cells if c not in missing}
    found = list(missing.values())
    found += judge_quality(there, rules, suites or {})
    for rule in rules.cost:
        found += [_cost(cell, rule, there[cell]) for cell in there if applies(rule.tasks, cell)]
    for bound in rules.load:
        applied = [cell for cell in there if applies(bound.tasks, cell)]
        found += [_load(cell, bound, there[cell][1][0], rules) for cell in applied]
    found += _idle(rules, found, cells)
    order = {cell: number for number, cell in enumerate(cells)}
    found.sort(key=lambda one: order.get((one.method, one.task), len(order)))
    times = {cell: stored[0].profile for cell, stored in candidate.items()}
    seconds = {cell: profile.own_seconds for cell, profile in times.items() if profile}
    return [one._replace(seconds=seconds.pop((one.method, one.task), None)) for one in found]


def exit_code(judgements: Sequence[Judgement]) -> int:
    """Return 1 if anything fails, else 2 if anything is undecided or incomparable, else 0."""
    outcomes = {one.outcome for one in judgements}
    return 1 if "fail" in outcomes or not outcomes else 0 if outcomes == {"pass"} else 2


def _idle(
    rules: GateRules, found: Sequence[Judgement], cells: Sequence[CellName]
) -> list[Judgement]:
    """Return failures for tasks that a rule names but no record has, and if no rule applies."""
    known = {task for _, task in cells}
    idle = []
    named = [rule.tasks for rule in rules.quality] + [rule.tasks for rule in rules.cost]
    named += [rule.tasks for rule in rules.load]
    for task in dict.fromkeys(task for tasks in named for task in tasks):
        if task not in known:
            detail = f"no record of this task.{did_you_mean(task, known)} Correct 'tasks'."
            idle.append(judged(("", task), "rule", "missing", detail))
    if not found and not idle:
        idle.append(judged(("", ""), "rules", "missing", "no rule applies to any record"))
    return idle


def _missing(cell: CellName, baseline: Cells, candidate: Cells) -> Judgement | None:
    """Return a failure if one side has no figures for the cell."""
    for side, cells in (("baseline", baseline), ("candidate", candidate)):
        stored = cells.get(cell)
        if stored is None:
            what = (
                f"the {side} has no record of it, and missing {side}s fail; measure it into the"
                f" folder of that side's records: rankstone run METHOD --on {cell[1]} --results DIR"
            )
        elif stored[0].status != "ok":
            what = f"the {side} ended as {stored[0].status}: {stored[0].failure()}"
        else:
            continue
        return judged(cell, "record", "missing", what)
    return None


def _cost(cell: CellName, rule: CostRule, pair: Pair) -> Judgement:
    baseline, candidate = pair[0][0], pair[1][0]
    name = f"{rule.figure} at most {rule.allowance:g} times"
    cost = BY_NAME[rule.figure]
    if rule.figure.endswith("latency"):
        detail = "times of separate runs are not comparable. Measure both here, interleaved: --ab"
        return judged(cell, name, "incomparable", detail)
    reason = obstacle(cost, candidate, baseline)
    if reason:
        return judged(cell, name, "incomparable", f"{reason}. Measure both here: --ab")
    values = cost.of(baseline), cost.of(candidate)
    if values[0] is None or values[1] is None or values[0] <= 0:
        return judged(cell, name, "incomparable", "one side has no such figure")
    times = values[1] / values[0]
    verdict: Verdict = "exceeded" if times > rule.allowance * (1 + TIE) else "within"
    made = judged(cell, name, verdict, f"{times:.3f} times the baseline")
    return made._replace(baseline=values[0], candidate=values[1])


def _load(cell: CellName, rule: LoadRule, record: RunRecord, rules: GateRules) -> Judgement:
    found = bounded(record, rule.rate, rule.p99_ms)
    name = f"p99 at {rule.rate:g} queries/s at most {rule.p99_ms:g} ms"
    made = judged(cell, name, found.verdict, found.detail)
    made = made._replace(candidate=found.p99_ms, low=found.low, high=found.high)
    return settled(made, rules, may_be_large=False)


def judge_ratio(
    rule: CostRule,
    baseline: Sequence[RunRecord],
    candidate: Sequence[RunRecord],
    *,
    level: float,
    load: float | None = None,
) -> Judgement:
    """Apply a cost rule to interleaved rounds: is a slow-down shown, or excluded?

    Rounds in which either side lacks the figure are left out. A percentile is missing if the load
    drifted so much that few latencies are independent.

    Args:
        level: Two-sided level of this look at the rounds; the looks of one gate share it.
        load: Load by other processes, in busy cores.
    """
    cost, record = BY_NAME[rule.figure], candidate[0]
    name = f"{rule.figure} at most {rule.allowance:g} times"
    cell = record.method.name, record.task.name
    rounds = [(cost.of(old), cost.of(new)) for old, new in zip(baseline, candidate, strict=True)]
    known = [(old, new) for old, new in rounds if old and new]
    if not known:
        return judged(cell, name, "incomparable", "no round has this figure of both sides")
    counted = f"{len(known)} rounds"
    if len(known) < len(rounds):
        counted = f"{len(known)} of {len(rounds)} rounds have the figure of both sides"
    if len(known) == 1:
        return judged(cell, name, "not shown", f"{counted}; more rounds may decide")
    before, after = ([pair[side] for pair in known] for side in (0, 1))
    mean, low, high = ratio(before, after, level)
    verdict: Verdict = "not shown"
    if low > rule.allowance:
        verdict = "shown"
    elif high <= rule.allowance:
        verdict = "excluded"
    detail = f"{mean:.3f} times the baseline ({low:.3f} to {high:.3f}, {counted})"
    if verdict == "not shown":
        detail += "; more rounds may decide"
    if load is not None:
        detail += f"; machine load {load:.1f}"
    made = judged(cell, name, verdict, detail)
    return made._replace(
        baseline=float(np.median(before)), candidate=float(np.median(after)), low=low, high=high,
        seconds=sum(one.profile.own_seconds for one in candidate if one.profile),
    )  # fmt: skip
