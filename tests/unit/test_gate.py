"""The gate: passing, failing and incomparable records."""

from __future__ import annotations

import json
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from typer.testing import CliRunner

import rankstone
from rankstone.cli.app import app
from rankstone.errors import DefinitionError, ResultsError
from rankstone.evaluation.family import Member, drops
from rankstone.leaderboards.formats.render import render
from rankstone.leaderboards.gate import judge, judge_ratio
from rankstone.leaderboards.gates.rules import CostRule, GateRules, QualityRule
from rankstone.leaderboards.pages.gate import page
from rankstone.results.record import RANKS, Latency, Percentiles
from rankstone.results.store import ResultStore
from rankstone.specs import SuiteSpec
from tests.conftest import ROOT
from tests.records import make_record
from tests.stored_values import store_values

TASK, BM25 = "stdlib/functions", "lexical/bm25"
BASE = np.random.default_rng(0).beta(0.4, 0.8, 300)


def put(folder, values=BASE, method=BM25, task=TASK, **changes):
    return store_values(folder, make_record(method, task, **changes), values)


@pytest.fixture
def sides(tmp_path):
    return tmp_path / "old", tmp_path / "new"


def judged(sides, rules=None):
    return rankstone.gate(str(sides[0]), str(sides[1]), rules=rules)


def slower(times):
    """Return a profile whose latencies are multiplied by `times`."""
    profile = make_record().profile
    latency = profile.latency
    changed = {
        part: Percentiles(**{k: latency[part][k] * times for k in (*RANKS, "max_ms", "mean_ms")})
        for part in ("encode", "search", "total")
    }
    latency = Latency(**{**latency.model_dump(), **changed})
    return profile.model_copy(update={"latency": latency})


@pytest.mark.parametrize(
    ("change", "verdict", "detail"),
    [
        (lambda v: v, "equivalent", "no query of 300 differs"),
        (lambda v: v + 0.01, "equivalent", "rises 0.0100"),
        (lambda v: v - 0.004, "equivalent", "drops 0.0040 (0.0040 to 0.0040)"),
        (lambda v: v - 0.005, "equivalent", "drops 0.0050"),  # the allowance itself, but for bits
        (lambda v: v - 0.01, "regression", "drops 0.0100 (0.0100 to 0.0100)"),
        (lambda v: v - 0.012, "regression", "drops 0.0120"),
        (lambda v: np.where(np.arange(300) < 3, v - 1, v), "undecided", "queries would decide"),
        (lambda v: np.where(np.arange(300) < 60, v - 0.4, v), "regression", "adjusted p"),
    ],
)
def test_the_verdict_of_quality_follows_allowance_and_hard_limit(sides, change, verdict, detail):
    put(sides[0])
    put(sides[1], change(BASE))
    (one,) = judged(sides)
    assert one.verdict == verdict, one.detail
    assert detail in one.detail


@pytest.mark.parametrize("n_cells", [1, 100, 101, 500])
def test_a_drop_of_every_query_fails_whatever_the_number_of_cells(n_cells):
    """Random flips give p of at least 1e-4, which Holm's factor for 101 cells raises above .01."""
    moved = BASE - 0.012 + np.random.default_rng(0).normal(0, 0.001, 300)
    family = drops([Member(moved - BASE, 0.005)] * n_cells, 0.01)
    assert max(one.adjusted for one in family) < 1e-6
    assert min(one.low for one in family) > 0.0115


def test_a_permitted_drop_passes_or_is_undecided_but_never_fails(sides):
    rng = np.random.default_rng(4)
    found = []
    for _ in range(60):
        noise = rng.normal(0, 0.02, 300)
        (one,) = drops([Member(noise - 0.004, 0.005)], 0.01)
        found.append(one.adjusted <= 0.01)
    assert sum(found) == 0


def test_the_hard_limit_bounds_what_may_pass_as_undecided(sides):
    noise = np.random.default_rng(1).normal(0, 0.3, 300)
    put(sides[0])
    put(sides[1], BASE + noise - noise.mean() - 0.002)
    for rule, outcome in [("report", "undecided"), ("fail", "fail"), ("pass", "undecided")]:
        assert judged(sides, GateRules(undecided=rule))[0].outcome == outcome
    wide = QualityRule(hard_limit=0.1)
    assert judged(sides, GateRules(undecided="pass", quality=(wide,)))[0].outcome == "pass"


def test_too_few_queries_show_nothing_and_this_is_reported(sides):
    put(sides[0], BASE[:6])
    put(sides[1], BASE[:6] - 0.019 + np.arange(6) * 1e-4)
    (one,) = judged(sides)
    assert (one.verdict, one.detectable, one.low) == ("undecided", None, None)
    assert "6 queries are too few to show any drop" in one.detail


def test_the_family_makes_each_test_stricter(sides):
    rng = np.random.default_rng(5)
    noise = rng.normal(0, 0.03, 300)
    put(sides[0])
    put(sides[1], BASE - 0.0102 + noise - noise.mean())
    (alone,) = judged(sides)
    assert alone.verdict == "regression"
    for n in range(19):
        put(sides[0], task=f"stdlib/other{n}")
        put(sides[1], task=f"stdlib/other{n}")
    first = next(one for one in judged(sides) if one.task == TASK)
    assert first.p == alone.p
    assert first.adjusted > alone.adjusted
    assert first.low < alone.low
    assert first.verdict == "undecided"


def test_max_t_uses_that_methods_move_together(sides):
    rng = np.random.default_rng(6)
    shared = rng.normal(-0.025, 0.1, 300)
    for n in range(12):
        put(sides[0], method=f"lexical/m{n}")
        put(sides[1], BASE + shared + rng.normal(0, 0.001, 300), method=f"lexical/m{n}")
    holm, max_t = (
        judged(sides, GateRules(correction=correction, level=0.05))[0]
        for correction in ("holm", "max-t")
    )
    assert max_t.adjusted < holm.adjusted
    assert holm.low < max_t.low < 0.025 < max_t.high < holm.high


@pytest.mark.parametrize("n", [1, 2, 4, 6])
def test_equal_drops_of_few_queries_are_not_shown_by_max_t_either(sides, n):
    """All signs are equal with a probability of 2^-n, however small the spread."""
    put(sides[0], np.full(n, 0.8))
    put(sides[1], np.full(n, 0.3))
    (one,) = judged(sides, GateRules(correction="max-t"))
    assert (one.verdict, one.low, one.high) == ("undecided", None, None)
    assert one.adjusted == pytest.approx(2.0**-n)


def test_rules_of_nothing_and_values_that_are_no_numbers_never_pass(sides):
    put(sides[0])
    put(sides[1])
    (_, idle) = judged(sides, GateRules(quality=(QualityRule(), QualityRule(tasks=("stdlib/x",)))))
    assert (idle.task, idle.outcome) == ("stdlib/x", "fail")
    (only,) = judged(sides, GateRules(quality=(QualityRule(tasks=("stdlib/function",)),)))
    assert only.outcome == "fail"
    assert "Did you mean: stdlib/functions" in only.detail
    (none,) = judged(sides, GateRules(quality=()))
    assert none.outcome == "fail"
    for values in (np.where(np.arange(300) == 7, np.nan, BASE), np.zeros(0)):
        put(sides[1], values)
        put(sides[0], BASE[: len(values)])
        (one,) = judged(sides)
        assert one.outcome == "incomparable", one.detail


def test_a_suite_is_judged_as_it_averages(sides):
    inner = SuiteSpec(
        name="inner", description="d", members=("a/one", "a/two"), measures=("nDCG@10",)
    )
    suite = SuiteSpec(
        name="all", description="d", members=("a/three", inner), measures=("nDCG@10",)
    )
    rules = GateRules(quality=(QualityRule(suite="all"),))
    for task, drop in [("a/one", 0.04), ("a/two", 0.0), ("a/three", 0.0)]:
        put(sides[0], task=task)
        put(sides[1], BASE - drop, task=task)
    cells = [ResultStore(side).cells() for side in sides]
    (one,) = judge(*cells, rules, {"all": suite})
    assert one.task == "all"
    # .04 on one of the two tasks of a member that counts half.
    assert one.baseline - one.candidate == pytest.approx(0.01)
    assert one.verdict == "regression"
    elsewhere = SuiteSpec(name="all", description="d", members=("b/x",), measures=("nDCG@10",))
    (idle,) = judge(*cells, rules, {"all": elsewhere})
    assert idle.outcome == "fail", idle.detail
    both = GateRules(quality=(QualityRule(), QualityRule(suite="all")))
    assert "missing" in {one.verdict for one in judge(*cells, both, {"all": elsewhere})}
    del cells[1][BM25, "a/two"]
    found = judge(*cells, rules, {"all": suite})
    assert {one.outcome for one in found} == {"fail", "incomparable"}


def test_missing_records_fail(sides):
    put(sides[1])
    sides[0].mkdir()
    (one,) = judged(sides)
    assert (one.verdict, "baseline has no record" in one.detail) == ("missing", True)
    put(sides[0])
    put(sides[0], method="dense/gone")
    gone = next(one for one in judged(sides) if one.method == "dense/gone")
    assert (gone.verdict, "candidate has no record" in gone.detail) == ("missing", True)
    put(sides[0], method="dense/broken", status="failed")
    put(sides[1], method="dense/broken")
    broken = next(one for one in judged(sides) if one.method == "dense/broken")
    assert "ended as failed: stopped at 4.0 GiB" in broken.detail


def test_a_side_that_is_not_there_is_named(sides):
    with pytest.raises(ResultsError, match=r"old and .*new: no folder with records"):
        judged(sides)
    put(sides[0])
    with pytest.raises(ResultsError, match=r"^[^ ]*new: no folder with records"):
        judged(sides)
    assert judge({}, {}, GateRules())[0].verdict == "missing"


def test_other_data_or_rules_are_incomparable(sides):
    put(sides[0])
    put(sides[1], BASE - 0.5, corpus="another")
    (one,) = judged(sides)
    assert (one.verdict, "corpus differ" in one.detail) == ("incomparable", True)
    put(sides[1], BASE[:299])
    (one,) = judged(sides)
    assert "not of the same queries" in one.detail.replace("\n", " ")


RULES = GateRules(
    quality=(),
    cost=(CostRule(figure="p95 latency", allowance=1.1), CostRule(figure="index", allowance=1.1)),
)


def larger(times):
    """Return a profile whose index is `times` as large."""
    profile = make_record().profile
    index = profile.index.model_copy(
        update={"memory_bytes": int(profile.index.memory_bytes * times)}
    )
    return profile.model_copy(update={"index": index})


def test_recorded_costs_that_repeat_are_judged_and_times_are_not(sides):
    put(sides[0])
    put(sides[1], profile=larger(1.2))
    latency, index = judged(sides, RULES)
    assert (latency.outcome, index.verdict) == ("incomparable", "exceeded")
    assert "--ab" in latency.detail
    assert index.detail == "1.200 times the baseline"
    put(sides[1], profile=larger(1.1), machine="ffffffff")
    assert judged(sides, RULES)[1].verdict == "within"


def test_two_methods_of_one_folder(sides):
    put(sides[0])
    put(sides[0], BASE - 0.03, method="lexical/half")
    (one,) = rankstone.gate("bm25", "half", results=sides[0])
    assert one.verdict == "regression"
    assert one.task == TASK


def test_published_records_report_missing_values_and_a_remedy():
    folder = ROOT / "results" / "reference" / "local"
    found = rankstone.gate(str(folder), str(folder), on=["beir/scifact"])
    assert {one.verdict for one in found} == {"incomparable"}
    bm25 = next(one for one in found if one.method == BM25)
    assert "published records are kept without" in bm25.detail
    assert bm25.detail.endswith("rankstone run lexical/bm25 --on beir/scifact --results DIR")


# Median milliseconds of BM25, and of a checkout that is slowed down by a fifth, as measured by
# `gate --ab` in interleaved rounds on two cores with other load.
RECORDED = {
    "stdlib/modules": (
        [0.1084, 0.1004, 0.1000, 0.1009, 0.1014, 0.1068, 0.1015, 0.1071],
        [0.2059, 0.1407, 0.2023, 0.1261, 0.1317, 0.1328, 0.1310, 0.1304],
    ),
    "stdlib/functions": (
        [0.1591, 0.1302, 0.1228, 0.1220, 0.1233, 0.1285],
        [0.1610, 0.1569, 0.1502, 0.1665, 0.1615, 0.2654],
    ),
}


@pytest.mark.parametrize(
    ("task", "verdict", "said"),
    [
        ("stdlib/modules", "shown", "1.426 times the baseline (1.205 to 1.688, 8 rounds)"),
        # Slower by a third on average, but with too much variation for six rounds.
        ("stdlib/functions", "not shown", "more rounds may decide"),
    ],
)
def test_recorded_rounds_show_a_slower_checkout_unless_they_vary_too_much(task, verdict, said):

    plain = make_record().profile.latency.total.p50_ms
    sides = [[make_record(profile=slower(ms / plain)) for ms in side] for side in RECORDED[task]]
    rule = CostRule(figure="median latency", allowance=1.1)
    one = judge_ratio(rule, *sides, level=0.05)
    assert one.verdict == verdict, one.detail
    assert said in one.detail
    same = judge_ratio(rule, sides[0], sides[0][::-1], level=0.05)
    assert same.outcome != "fail"


@pytest.mark.parametrize(("times", "verdict"), [(1.2, "shown"), (1.0, "excluded")])
def test_rounds_in_turns_are_judged_by_their_interval(times, verdict):

    rng = np.random.default_rng(2)
    sides = [
        [make_record(profile=slower(factor * load)) for load in rng.normal(1, 0.02, 8)]
        for factor in (1.0, times)
    ]
    rule = CostRule(figure="median latency", allowance=1.1)
    one = judge_ratio(rule, *sides, level=0.05)
    assert one.verdict == verdict
    assert one.low < times < one.high


def without_percentiles():
    """Return a profile of latencies too correlated for any percentile."""
    profile = make_record().profile
    bare = Percentiles(max_ms=1.0, mean_ms=1.0)
    latency = Latency(
        **{**profile.latency.model_dump(), "encode": bare, "search": bare, "total": bare}
    )
    return profile.model_copy(update={"latency": latency})


@pytest.mark.parametrize(
    ("lacking", "verdict", "detail"),
    [
        (1, "shown", "7 of 8 rounds have the figure of both sides"),
        (7, "not shown", "1 of 8 rounds have the figure of both sides; more rounds may decide"),
        (8, "incomparable", "no round has this figure of both sides"),
    ],
)
@pytest.mark.parametrize("side", [0, 1])
def test_a_round_without_the_figure_does_not_count(side, lacking, verdict, detail):
    rng = np.random.default_rng(2)
    sides = [
        [make_record(profile=slower(factor * load)) for load in rng.normal(1, 0.02, 8)]
        for factor in (1.0, 1.2)
    ]
    sides[side][:lacking] = [make_record(profile=without_percentiles())] * lacking
    one = judge_ratio(CostRule(figure="median latency", allowance=1.1), *sides, level=0.05)
    assert one.verdict == verdict
    assert detail in one.detail


def command(sides, *more, **environment):
    arguments = ["gate", "--baseline", str(sides[0]), "--candidate", str(sides[1]), *more]
    return CliRunner().invoke(app, arguments, env=environment)


def test_the_exit_code_and_the_files_tell_the_verdict(sides, tmp_path):
    put(sides[0])
    put(sides[1])
    assert command(sides).exit_code == 0
    put(sides[1], corpus="another")
    assert command(sides).exit_code == 2
    put(sides[1], BASE - 0.03)
    summary, xml, body = tmp_path / "summary", tmp_path / "junit.xml", tmp_path / "gate.json"
    found = command(
        sides, "--junit", str(xml), "--json", str(body),
        GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(summary),
    )  # fmt: skip
    assert found.exit_code == 1
    assert "::error title=lexical/bm25 on stdlib/functions::nDCG@10 may drop" in found.output
    assert "**The gate fails. (1 regression)**" in summary.read_text()
    root = ElementTree.parse(xml).getroot()
    assert [s.get("failures") for s in root] == ["1"]
    assert root.find(".//failure").get("message").startswith("drops 0.03")
    assert json.loads(body.read_text())["exit_code"] == 1


@pytest.mark.parametrize("width", [80, 120, 160])
def test_printed_judgements_fit_and_read_line_by_line(sides, width):
    rules = GateRules(cost=RULES.cost)
    put(sides[0], method="dense/all-minilm-l6-v2-early-exit", task="beir/cqadupstack-mathematica")
    put(sides[1], BASE - 0.01, "dense/all-minilm-l6-v2-early-exit", "beir/cqadupstack-mathematica",
        machine="ffffffff")  # fmt: skip
    text = render(page(judged(sides, rules)), width=width)
    lines, words = text.splitlines(), " ".join(text.split())
    assert max(map(len, lines)) <= width
    assert lines[:2] == [
        " Retrieval quality gate",
        " The gate fails. (1 regression, 1 within, 1 incomparable)",
    ]
    signs = [line.strip()[0] for line in lines if line.strip()[:1] in tuple("✗?✓")]
    assert signs == ["✗", "?", "✓"]
    if width == 80:
        assert f"{BASE.mean() - 0.01:.4f}".lstrip("0") in words
        assert lines[4] == "   task                 beir/cqadupstack-mathematica"
        assert lines[6] == "   rule                 nDCG@10 may drop 0.005"
    assert "dense/all-minilm-l6-v2-early-exit" in words
    assert re.search(r"\.0100\b.*\.0100 to \.0100\b.*<\.001", words)


JUNIT = {
    "testsuites": ("testsuite", {"name", "time", "tests", "failures", "errors"}, set()),
    "testsuite": (
        "testcase",
        {"name", "tests", "failures", "errors", "skipped", "time", "timestamp", "hostname"},
        {"name", "tests", "failures", "errors"},
    ),
    "testcase": ("failure skipped", {"name", "classname", "time"}, {"name"}),
    "failure": ("", {"type", "message"}, set()),
    "skipped": ("", {"type", "message"}, set()),
}
"""Element -> its elements, its attributes and the required ones, of Jenkins' junit-10.xsd (the part
of it that a gate needs)."""


def test_junit_is_of_the_common_schema_and_its_sums_agree(sides):
    """Each line was checked by hand; with lxml the file also validates against junit-10.xsd."""
    slow = make_record(profile=slower(1)).profile
    put(sides[0])
    put(sides[1], BASE - 0.03, profile=slow)
    put(sides[0], method="dense/b")
    put(sides[1], np.where(np.arange(300) < 3, BASE - 1, BASE), "dense/b", task="stdlib/modules")
    put(sides[0], np.zeros(300), "dense/b", task="stdlib/modules")
    root = ElementTree.fromstring(render(page(judged(sides)), "junit").encode())
    for element in root.iter():
        inner, known, needed = JUNIT[element.tag]
        assert needed <= set(element.keys()) <= known
        assert {child.tag for child in element} <= set(inner.split())
        assert re.fullmatch(r"\d+\.\d{3}", element.get("time", "0.000"))
    for name in ("tests", "failures", "errors", "time"):
        assert float(root.get(name)) == pytest.approx(sum(float(s.get(name)) for s in root))
    cases = list(root.iter("testcase"))
    assert int(root.get("tests")) == len(cases) == 3
    assert int(root.get("failures")) == len(list(root.iter("failure"))) == 2
    assert {f.get("type") for f in root.iter("failure")} == {"regression", "missing"}
    (timed,) = (case for case in cases if case[:1] and case[0].get("type") == "regression")
    assert float(timed.get("time")) == pytest.approx(slow.own_seconds, abs=0.001)


def test_rules_of_a_file_are_applied_and_faults_in_it_named(sides, tmp_path):
    put(sides[0])
    put(sides[1], BASE - 0.01)
    rules = tmp_path / "rules.toml"
    rules.write_text("[[quality]]\nallowance = 0.02\nhard_limit = 0.05\n")
    assert command(sides, "--rules", str(rules)).exit_code == 0
    rules.write_text("[[quality]]\nallowance = 0.02\nhard_limit = 0.01\n")
    with pytest.raises(DefinitionError, match="'hard_limit' is below 'allowance'"):
        judged(sides, rules)
    rules.write_text("[[cost]]\nfigure = 'p95 latncy'\nallowance = 1.1\n")
    with pytest.raises(DefinitionError, match="Did you mean: p95 latency"):
        judged(sides, rules)
    with pytest.raises(DefinitionError, match=r"gone\.toml: no such file of rules"):
        judged(sides, tmp_path / "gone.toml")


def test_an_unmeasured_task_is_refused(sides):
    put(sides[0])
    with pytest.raises(ResultsError, match="neither side has a record of 'beir/nq'"):
        rankstone.gate(str(sides[0]), str(sides[0]), on=["beir/nq"])


def test_hostile_names_do_not_break_what_others_read(sides):
    put(sides[0])
    sides[1].mkdir()
    (one,) = judged(sides)
    one = one._replace(outcome="fail", method="a,b:c", detail="50% <b>\n::error::x")
    (line,) = render(page([one]), "github").splitlines()
    assert line.startswith("::error title=a%2Cb%3Ac on")
    assert "50%25" in line
    assert (
        ElementTree.fromstring(render(page([one]), "junit").encode()).find(".//failure") is not None
    )


@pytest.mark.parametrize("kind", ["dense", "sparse", "zero or one"])
@pytest.mark.parametrize(("n_cells", "n"), [(1, 50), (5, 50), (3, 300)])
def test_false_alarms_are_rare(kind, n_cells, n):
    """At the allowance itself, any of the cells fails in at most `level` of the trials, within
    three standard errors; `make slow` runs the full test (test_gate_calibration)."""
    rng, trials, level = np.random.default_rng(7), 40, 0.05
    draw = {
        "dense": lambda: rng.normal(0, 0.3, n),
        "sparse": lambda: np.where(rng.random(n) < 0.1, rng.normal(0, 0.35, n), 0.0),
        "zero or one": lambda: rng.choice([-1.0, 0.0, 1.0], p=[0.05, 0.9, 0.05], size=n),
    }[kind]
    alarms = 0
    for _ in range(trials):
        family = drops([Member(draw() - 0.005, 0.005) for _ in range(n_cells)], level)
        alarms += any(one.adjusted <= level for one in family)
    assert alarms <= trials * level + 3 * np.sqrt(trials * level * (1 - level))


def test_the_drop_it_says_is_detectable_is_detected_as_often_as_promised():
    rng = np.random.default_rng(3)
    (pilot,) = drops([Member(rng.normal(0, 0.3, 100_000), 0.005)], 0.01)
    drop = 0.005 + (pilot.detectable - 0.005) * np.sqrt(100_000 / 300)
    found = [drops([Member(rng.normal(-drop, 0.3, 300), 0.005)], 0.01)[0] for _ in range(200)]
    assert np.mean([one.adjusted <= 0.01 for one in found]) == pytest.approx(0.8, abs=0.07)
