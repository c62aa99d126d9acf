"""Judgements of quality: one family of non-inferiority tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from rankstone.arrays import Floats
from rankstone.errors import ResultsError
from rankstone.evaluation.family import Drop, Member, drops
from rankstone.evaluation.sign_flips import TIE
from rankstone.leaderboards.compare import obstacles, paired_values
from rankstone.leaderboards.gates.judgement import (
    CellName,
    Judgement,
    Pair,
    Verdict,
    applies,
    judged,
    settled,
)
from rankstone.leaderboards.gates.rules import GateRules, QualityRule
from rankstone.leaderboards.suites import shares
from rankstone.specs import SuiteSpec


class _Test(NamedTuple):
    cell: CellName
    rule: QualityRule
    measure: str
    member: Member
    means: tuple[float, float]
    """Means of the baseline and the candidate."""


def judge_quality(
    there: Mapping[CellName, Pair], rules: GateRules, suites: Mapping[str, SuiteSpec]
) -> list[Judgement]:
    """Apply all quality rules, as one family of tests."""
    made: list[_Test | Judgement] = []
    for rule in rules.quality:
        if rule.suite is not None:
            made += _suite_tests(rule, there, suites)
        else:
            made += [_test(c, rule, pair) for c, pair in there.items() if applies(rule.tasks, c)]
    tests = [one for one in made if isinstance(one, _Test)]
    family = drops([test.member for test in tests], rules.level, rules.correction)
    verdicts = (_verdict(t, drop, rules) for t, drop in zip(tests, family, strict=True))
    return [one if isinstance(one, Judgement) else next(verdicts) for one in made]


def _test(cell: CellName, rule: QualityRule, pair: Pair) -> _Test | Judgement:
    """Return the values of both sides, or a judgement that they are not comparable."""
    measure = rule.measure or pair[1][0].task.headline
    try:
        queries, of, than = _values(pair, measure)
    except ResultsError as error:
        return judged(cell, measure, "incomparable", str(error))
    member = Member(of - than, rule.allowance, None, (cell[1], measure, tuple(queries)))
    return _Test(cell, rule, measure, member, (float(than.mean()), float(of.mean())))


def _values(pair: Pair, measure: str) -> tuple[list[str], Floats, Floats]:
    """Return queries, candidate's values and baseline's values, sorted by query."""
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
    """Return one test per method: of the suite's mean, with queries weighted as in that mean."""
    suite = suites[rule.suite or ""]
    measure = rule.measure or (suite.measures[0] if suite.measures else "")
    if not measure:
        what = "the suite averages nothing. Name a 'measure' in the rule."
        return [judged(("", suite.name), "rule", "missing", what)]
    methods = dict.fromkeys(method for method, task in there if task in suite.tasks)
    if not methods:
        what = "no record of a task of this suite. Correct 'suite'."
        return [judged(("", suite.name), "rule", "missing", what)]
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
        return judged(cell, measure, "incomparable", detail)
    values: list[tuple[Floats, Floats]] = []
    queries: list[tuple[str, str]] = []
    for task in parts:
        try:
            names, of, than = _values(there[method, task], measure)
        except ResultsError as error:
            return judged(cell, measure, "incomparable", f"{task}: {error}")
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
        made = judged(test.cell, name, "equivalent", f"no query of {n:,} differs")
        return made._replace(
            baseline=test.means[0], candidate=test.means[1], low=0.0, high=0.0, drop=0.0,
            remark=made.detail,
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
    made = judged(test.cell, name, verdict, detail)._replace(
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
    return settled(made, rules, may_be_large=found.high > rule.hard_limit + TIE)


def _interval(found: Drop) -> str:
    ends = (f"{end:.4f}" if np.isfinite(end) else "?" for end in (found.low, found.high))
    return " to ".join(ends)


def _power(found: Drop, n: int) -> str:
    if not np.isfinite(found.detectable):
        return f"{n:,} queries are too few to show any drop among so many comparisons"
    return f"minimum detectable drop {found.detectable:.3f} with 80% power on {n:,} queries"


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
