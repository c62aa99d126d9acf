"""Judge whether a candidate may replace a baseline: regressions of quality and cost.

Every rule on every cell ends in a verdict. Of quality, where the simultaneous confidence interval
of the drop lies decides: above the allowance a *regression*, within it *equivalent*, across it
*undecided*. The rate at which anything at all is wrongly called a regression is `level`, whatever
the number of cells and queries (`rankstone.evaluation.family`). Costs that repeat are compared as
recorded; time is judged by `--ab` alone, as a slow-down that is *shown*, *excluded* or *not shown*,
or by bounds on the candidate's p99 under load. What cannot be compared, or is not there, never
passes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from rankstone.arrays import Floats
from rankstone.errors import ResultsError, did_you_mean
from rankstone.evaluation.family import Drop, Member, drops
from rankstone.evaluation.sign_flips import TIE
from rankstone.evaluation.significance import ratio
from rankstone.leaderboards.compare import obstacles, paired_values
from rankstone.leaderboards.costs import BY_NAME, obstacle
from rankstone.leaderboards.gate_rules import CostRule, GateRules, LoadRule, QualityRule
from rankstone.leaderboards.loads.bound import bounded
from rankstone.leaderboards.suites import shares
from rankstone.results.record import RunRecord
from rankstone.results.store import ResultStore, Stored
from rankstone.specs import SuiteSpec

Verdict = Literal[
    "regression", "equivalent", "undecided",  # quality
    "exceeded", "within",  # a recorded cost, or a bound under load
    "shown", "excluded", "not shown",  # a slow-down, measured in turns
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
"""(method, task) -> record. Both sides name a cell alike."""


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
    """Ends of the simultaneous interval of the drop, or of the ratio where a cost was measured
    again; None where there is none, or the number of queries permits none."""
    high: float | None = None
    p: float | None = None
    """p-value of the hypothesis that the drop is within the allowance, unadjusted."""
    adjusted: float | None = None
    """The same, adjusted over the family."""
    detectable: float | None = None
    """The minimum detectable drop on these queries with 80% power."""
    needed: int | None = None
    """Queries that would decide an undecided cell."""
    drop: float | None = None
    """Baseline less candidate, of the measure's mean."""
    remark: str = ""
    """The part of `detail` that no field states."""
    seconds: float | None = None
    """Wall time of the candidate's runs; of stored ones on the first rule of each cell."""


def _judged(cell: CellName, rule: str, verdict: Verdict, detail: str) -> Judgement:
    return Judgement(cell[1], cell[0], rule, verdict, OUTCOMES[verdict], detail)


def judge_stored(
    store: ResultStore,
    baseline: str,
    candidate: str,
    rules: GateRules,
    *,
    tasks: Sequence[str] | None = None,
    suites: Mapping[str, SuiteSpec] | None = None,
) -> list[Judgement]:
    """Judge `candidate` by `baseline`: each a folder of records, or a method of `store`."""
    sides = [store.side(name, label=candidate) for name in (baseline, candidate)]
    if tasks is not None:
        kept = set(tasks)
        sides = [{cell: s for cell, s in side.items() if cell[1] in kept} for side in sides]
        for task in sorted(kept - {task for side in sides for _, task in side}):
            raise ResultsError(f"neither side has a record of '{task}'. Correct --on.")
    return judge(sides[0], sides[1], rules, suites or {})


def judge(
    baseline: Cells,
    candidate: Cells,
    rules: GateRules,
    suites: Mapping[str, SuiteSpec] | None = None,
) -> list[Judgement]:
    """Every rule on every cell of either side, cell by cell, then what is missing or idle."""
    cells = list(dict.fromkeys([*baseline, *candidate]))
    if not cells:
        return [_judged(("", ""), "records", "missing", "neither side has a record")]
    missing = {cell: made for cell in cells if (made := _missing(cell, baseline, candidate))}
    there = {c: (baseline[c], candidate[c]) for c in cells if c not in missing}
    found = list(missing.values())
    found += _quality(there, rules, suites or {})
    for rule in rules.cost:
        found += [_cost(cell, rule, there[cell]) for cell in there if _applies(rule.tasks, cell)]
    for bound in rules.load:
        applied = [cell for cell in there if _applies(bound.tasks, cell)]
        found += [_load(cell, bound, there[cell][1][0], rules) for cell in applied]
    found += _idle(rules, found, cells)
    order = {cell: number for number, cell in enumerate(cells)}
    found.sort(key=lambda one: order.get((one.method, one.task), len(order)))
    times = {cell: stored[0].profile for cell, stored in candidate.items()}
    seconds = {cell: profile.own_seconds for cell, profile in times.items() if profile}
    return [one._replace(seconds=seconds.pop((one.method, one.task), None)) for one in found]


def exit_code(judgements: Sequence[Judgement]) -> int:
    """1 if anything fails, else 2 if anything is undecided or cannot be compared, else 0."""
    outcomes = {one.outcome for one in judgements}
    return 1 if "fail" in outcomes or not outcomes else 0 if outcomes == {"pass"} else 2


def _applies(tasks: Sequence[str], cell: CellName) -> bool:
    return not tasks or cell[1] in tasks


def _idle(
    rules: GateRules, found: Sequence[Judgement], cells: Sequence[CellName]
) -> list[Judgement]:
    """A failure for every task that a rule names and no record is of, and for rules of nothing."""
    known = {task for _, task in cells}
    idle = []
    named = [rule.tasks for rule in rules.quality] + [rule.tasks for rule in rules.cost]
    named += [rule.tasks for rule in rules.load]
    for task in dict.fromkeys(task for tasks in named for task in tasks):
        if task not in known:
            detail = f"no record of this task.{did_you_mean(task, known)} Correct 'tasks'."
            idle.append(_judged(("", task), "rule", "missing", detail))
    if not found and not idle:
        idle.append(_judged(("", ""), "rules", "missing", "no rule applies to any record"))
    return idle


def _missing(cell: CellName, baseline: Cells, candidate: Cells) -> Judgement | None:
    """A failure where one side has no figures for the cell."""
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
        return _judged(cell, "record", "missing", what)
    return None


Pair = tuple[Stored, Stored]
"""The records of baseline and candidate."""


class _Test(NamedTuple):
    cell: CellName
    rule: QualityRule
    measure: str
    member: Member
    means: tuple[float, float]
    """Mean of the baseline, and of the candidate."""


def _quality(
    there: Mapping[CellName, Pair], rules: GateRules, suites: Mapping[str, SuiteSpec]
) -> list[Judgement]:
    """The judgements of quality, as one family."""
    made: list[_Test | Judgement] = []
    for rule in rules.quality:
        if rule.suite is not None:
            made += _suite_tests(rule, there, suites)
        else:
            made += [_test(c, rule, pair) for c, pair in there.items() if _applies(rule.tasks, c)]
    tests = [one for one in made if isinstance(one, _Test)]
    family = drops([test.member for test in tests], rules.level, rules.correction)
    verdicts = (_verdict(t, drop, rules) for t, drop in zip(tests, family, strict=True))
    return [one if isinstance(one, Judgement) else next(verdicts) for one in made]


def _test(cell: CellName, rule: QualityRule, pair: Pair) -> _Test | Judgement:
    """The values of both sides, or the reason why they cannot be compared."""
    measure = rule.measure or pair[1][0].task.headline
    try:
        queries, of, than = _values(pair, measure)
    except ResultsError as error:
        return _judged(cell, measure, "incomparable", str(error))
    member = Member(of - than, rule.allowance, None, (cell[1], measure, tuple(queries)))
    return _Test(cell, rule, measure, member, (float(than.mean()), float(of.mean())))


def _values(pair: Pair, measure: str) -> tuple[list[str], Floats, Floats]:
    """Queries, and the candidate's and the baseline's values, sorted by query."""
    baseline, candidate = pair
    reasons = list(obstacles(candidate[0], baseline[0]))
    if reasons:
        raise ResultsError("; ".join(reasons))
    queries, of, than = paired_values(candidate, baseline, measure)
    if not queries:
        raise ResultsError("no query is judged")
    if not (np.isfinite(of).all() and np.isfinite(than).all()):
        raise ResultsError(
            f"'{measure}' has values per query that are not numbers."
            " Measure it again: rankstone run"
        )
    order = np.argsort(queries)
    return [queries[n] for n in order], of[order], than[order]


def _suite_tests(
    rule: QualityRule, there: Mapping[CellName, Pair], suites: Mapping[str, SuiteSpec]
) -> list[_Test | Judgement]:
    """One test for each method: the suite's mean, its queries weighted as the suite averages."""
    suite = suites[rule.suite or ""]
    measure = rule.measure or (suite.measures[0] if suite.measures else "")
    if not measure:
        what = "the suite averages nothing. Name a 'measure' in the rule."
        return [_judged(("", suite.name), "rule", "missing", what)]
    methods = dict.fromkeys(method for method, task in there if task in suite.tasks)
    if not methods:
        what = "no record of a task of this suite. Correct 'suite'."
        return [_judged(("", suite.name), "rule", "missing", what)]
    return [_suite_test(m, suite, measure, rule, there) for m in methods]


def _suite_test(
    method: str,
    suite: SuiteSpec,
    measure: str,
    rule: QualityRule,
    there: Mapping[CellName, Pair],
) -> _Test | Judgement:
    cell, parts = (method, suite.name), shares(suite)
    absent = [task for task in parts if (method, task) not in there]
    if absent:
        detail = f"no mean over the suite: both sides lack {', '.join(absent[:3])}"
        return _judged(cell, measure, "incomparable", detail)
    values: list[tuple[Floats, Floats]] = []
    queries: list[tuple[str, str]] = []
    for task in parts:
        try:
            names, of, than = _values(there[method, task], measure)
        except ResultsError as error:
            return _judged(cell, measure, "incomparable", f"{task}: {error}")
        values.append((of, than))
        queries += [(task, name) for name in names]
    weights = np.concatenate(
        [np.full(len(of), share / len(of)) for share, (of, _) in zip(parts.values(), values,
                                                                     strict=True)]
    )  # fmt: skip
    of, than = (np.concatenate(side) for side in zip(*values, strict=True))
    means = float(than @ weights), float(of @ weights)
    member = Member(of - than, rule.allowance, weights * len(of), (suite.name, tuple(queries)))
    return _Test(cell, rule, measure, member, means)


def _verdict(test: _Test, found: Drop, rules: GateRules) -> Judgement:
    rule, n = test.rule, len(test.member.differences)
    moved = int((np.abs(test.member.differences) > TIE).sum())
    name = f"{test.measure} may drop {rule.allowance:g}"
    detail = f"drops {found.drop:.4f}" if found.drop > 0 else f"rises {-found.drop:.4f}"
    if not moved:
        judged = _judged(test.cell, name, "equivalent", f"no query of {n:,} differs")
        return judged._replace(
            baseline=test.means[0], candidate=test.means[1], low=0.0, high=0.0, drop=0.0,
            remark=judged.detail,
        )  # fmt: skip
    verdict: Verdict = "undecided"
    if found.adjusted <= rules.level:
        verdict = "regression"
    elif found.high <= rule.allowance + TIE:
        verdict = "equivalent"
    detail += f" ({_interval(found)}), p {found.p:.2g}, adjusted p {found.adjusted:.2g}"
    detail += f"; {_power(found, n)}"
    remark = "" if np.isfinite(found.detectable) else "too few queries to show any drop"
    needed = int(found.needed) if np.isfinite(found.needed) else None
    if verdict == "undecided" and needed:
        remark = f"about {needed:,} queries would decide"
        detail += f"; {remark}"
    judged = _judged(test.cell, name, verdict, detail)._replace(
        baseline=test.means[0],
        candidate=test.means[1],
        low=_finite(found.low),
        high=_finite(found.high),
        p=found.p,
        adjusted=found.adjusted,
        detectable=_finite(found.detectable),
        drop=found.drop,
        remark=remark,
        needed=needed if verdict == "undecided" else None,
    )
    return _settled(judged, rules, may_be_large=found.high > rule.hard_limit + TIE)


def _settled(judged: Judgement, rules: GateRules, *, may_be_large: bool) -> Judgement:
    """An undecided judgement with the outcome that the rules state for it."""
    if judged.verdict != "undecided" or rules.undecided == "report":
        return judged
    if rules.undecided == "pass" and may_be_large:
        more = "the drop may be above the hard limit"
        detail, remark = (
            "; ".join(filter(None, (text, more))) for text in (judged.detail, judged.remark)
        )
        return judged._replace(detail=detail, remark=remark)
    return judged._replace(outcome=rules.undecided)


def _interval(found: Drop) -> str:
    ends = (f"{end:.4f}" if np.isfinite(end) else "?" for end in (found.low, found.high))
    return " to ".join(ends)


def _power(found: Drop, n: int) -> str:
    if not np.isfinite(found.detectable):
        return f"{n:,} queries are too few to show any drop among so many comparisons"
    return f"minimum detectable drop {found.detectable:.3f} with 80% power on {n:,} queries"


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _cost(cell: CellName, rule: CostRule, pair: Pair) -> Judgement:
    baseline, candidate = pair[0][0], pair[1][0]
    name = f"{rule.figure} at most {rule.allowance:g} times"
    cost = BY_NAME[rule.figure]
    if rule.figure.endswith("latency"):
        detail = "times of separate runs are not comparable. Measure both here, interleaved: --ab"
        return _judged(cell, name, "incomparable", detail)
    reason = obstacle(cost, candidate, baseline)
    if reason:
        return _judged(cell, name, "incomparable", f"{reason}. Measure both here: --ab")
    values = cost.of(baseline), cost.of(candidate)
    if values[0] is None or values[1] is None or values[0] <= 0:
        return _judged(cell, name, "incomparable", "one side has no such figure")
    times = values[1] / values[0]
    verdict: Verdict = "exceeded" if times > rule.allowance * (1 + TIE) else "within"
    judged = _judged(cell, name, verdict, f"{times:.3f} times the baseline")
    return judged._replace(baseline=values[0], candidate=values[1])


def _load(cell: CellName, rule: LoadRule, record: RunRecord, rules: GateRules) -> Judgement:
    found = bounded(record, rule.rate, rule.p99_ms)
    name = f"p99 at {rule.rate:g} queries/s at most {rule.p99_ms:g} ms"
    judged = _judged(cell, name, found.verdict, found.detail)
    judged = judged._replace(candidate=found.p99_ms, low=found.low, high=found.high)
    return _settled(judged, rules, may_be_large=False)


def judge_ratio(
    rule: CostRule,
    baseline: Sequence[RunRecord],
    candidate: Sequence[RunRecord],
    *,
    level: float,
    load: float | None = None,
) -> Judgement:
    """A rule of cost on rounds measured in turns: is a slow-down shown, or excluded?

    Args:
        level: two-sided, of this look at the rounds; the looks of one gate share it.
        load: load of the machine by others, in busy cores.
    """
    cost, record = BY_NAME[rule.figure], candidate[0]
    known = [[value for value in map(cost.of, side) if value] for side in (baseline, candidate)]
    name = f"{rule.figure} at most {rule.allowance:g} times"
    cell = record.method.name, record.task.name
    if len(known[0]) != len(baseline) or len(known[1]) != len(candidate):
        return _judged(cell, name, "incomparable", "a round has no such figure")
    mean, low, high = ratio(known[0], known[1], level)
    verdict: Verdict = "not shown"
    if low > rule.allowance:
        verdict = "shown"
    elif high <= rule.allowance:
        verdict = "excluded"
    detail = f"{mean:.3f} times the baseline ({low:.3f} to {high:.3f}, {len(baseline)} rounds)"
    if verdict == "not shown":
        detail += "; more rounds may decide"
    if load is not None:
        detail += f"; machine load {load:.1f}"
    judged = _judged(cell, name, verdict, detail)
    baseline_value, candidate_value = (float(np.median(side)) for side in known)
    return judged._replace(
        baseline=baseline_value, candidate=candidate_value, low=low, high=high,
        seconds=sum(one.profile.own_seconds for one in candidate if one.profile),
    )  # fmt: skip
