"""Claims: definitions, quantities of checks, verdicts, and the page."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.stats
from pydantic import ValidationError

from rankstone import Session
from rankstone.errors import DefinitionError, ResultsError
from rankstone.leaderboards.formats.render import render
from rankstone.leaderboards.pages.claims import page as claims_page
from rankstone.leaderboards.papers.checks import CHECKS, Value
from rankstone.leaderboards.papers.claims import (
    BOUNDS,
    ClaimSpec,
    Finding,
    Result,
    evaluate_claim,
    seconds,
)
from rankstone.leaderboards.papers.tested import claims_from_json, claims_to_json
from rankstone.profiling.latency import summarise
from rankstone.results.per_query import write_latency, write_per_query
from rankstone.results.store import ResultStore, Staged
from rankstone.results.trec_run import write_run
from rankstone.strict import chosen, load_folder
from rankstone.workspace import Workspace
from tests.conftest import ROOT
from tests.records import make_record, make_trained_record
from tests.stored_values import store_values

TASK = "stdlib/functions"
QUERIES = [f"q{i}" for i in range(40)]
DOCS = [f"d{i}" for i in range(50)]


def markdown(results):
    return render(claims_page(results), "markdown")


def stored(
    folder,
    method,
    ranks,
    *,
    ndcg=None,
    machine="4be81c07",
    task=TASK,
    unseen=None,
    latency=None,
    ids=QUERIES,
):
    """Return a record of `method` whose run has the documents at these positions."""
    store = ResultStore(folder)
    docs = np.array(ranks, dtype=np.int64)
    scores = -np.arange(docs.shape[1], dtype=np.float32) * np.ones((len(docs), 1), np.float32)
    write_run(folder / "run", QUERIES, docs, scores, lambda p: [DOCS[i] for i in p], tag="t")
    values = np.linspace(0, 1, len(QUERIES)) if ndcg is None else np.asarray(ndcg, dtype=float)
    write_per_query(folder / "values", ids, {"nDCG@10": values}, unseen)
    made = make_record(method, task, machine=machine)
    staged = Staged(run=folder / "run", per_query=folder / "values")
    if latency is not None:
        write_latency(folder / "ms", latency, 0 * latency)
        timed = summarise(latency, 0 * latency, warmup=0, threads=2, k=10)
        profile = made.profile.model_copy(update={"latency": timed})
        made = made.model_copy(update={"profile": profile})
        staged["latency"] = folder / "ms"
    record = store.write(made, staged)
    return {(method, task): (record, store.path(record))}


def rotated(shift, depth=20):
    return [[(row + shift + rank) % len(DOCS) for rank in range(depth)] for row in range(40)]


def claim(**check):
    bound = {} if set(BOUNDS) & set(check) else {"at_least": 0.0}
    checks = [{"of": "a/x", "reported": "so", **bound, **check}]
    return ClaimSpec.model_validate_json(
        json.dumps(
            {"name": "c", "statement": "s", "source": "p", "tasks": [TASK], "checks": checks}
        )
    )


def only(claim, records, *more):
    (finding,) = evaluate_claim(claim, records, *more).findings
    return finding


def test_a_difference_is_paired_and_has_the_interval_of_its_mean(tmp_path):
    rng = np.random.default_rng(0)
    base = rng.random(40)
    records = {
        **stored(tmp_path, "a/x", rotated(0), ndcg=base + 0.05),
        **stored(tmp_path, "a/y", rotated(0), ndcg=base),
    }
    found = only(claim(kind="difference", than="a/y", measure="nDCG@10"), records)
    assert found.value.value == pytest.approx(0.05)
    assert (found.value.low, found.value.high) == pytest.approx((0.05, 0.05))
    assert found.verdict == "holds"
    worse = only(claim(kind="difference", than="a/y", measure="nDCG@10", at_least=0.06), records)
    assert worse.verdict == "does not hold"
    within = claim(kind="difference", than="a/x", of="a/y", measure="nDCG@10", at_least=-0.06)
    assert only(within, records).verdict == "holds"


def test_an_interval_across_the_bound_is_inconclusive(tmp_path):
    rng = np.random.default_rng(1)
    records = {
        **stored(tmp_path, "a/x", rotated(0), ndcg=rng.random(40)),
        **stored(tmp_path, "a/y", rotated(0), ndcg=rng.random(40)),
    }
    found = only(claim(kind="difference", than="a/y", measure="nDCG@10"), records)
    assert found.value.low < 0 < found.value.high
    assert found.verdict == "inconclusive"


def test_other_queries_are_not_compared(tmp_path):
    records = stored(tmp_path, "a/x", rotated(0))
    folder, others = tmp_path / "other", [f"p{i}" for i in range(40)]
    record = store_values(folder, make_record("a/y"), np.zeros(40), others)
    records["a/y", TASK] = record, ResultStore(folder).path(record)
    found = only(claim(kind="difference", than="a/y", measure="nDCG@10"), records)
    assert found.verdict == "not tested"
    assert "same queries" in found.reason


@pytest.mark.parametrize(
    "kind",
    [{"kind": "difference", "measure": "nDCG@10"}, {"kind": "overlap", "truth": "a/y", "k": 1}],
)
def test_records_of_other_data_are_not_compared(tmp_path, kind):
    """Of the same queries, but other judgements or documents."""
    records = stored(tmp_path, "a/x", rotated(0))
    other = make_record("a/y", corpus="another")
    record, path = stored(tmp_path, "a/y", rotated(0))["a/y", TASK]
    records["a/y", TASK] = record.model_copy(update={"task": other.task}), path
    found = only(claim(**kind, **({"than": "a/y"} if "measure" in kind else {})), records)
    assert found.verdict == "not tested"
    assert "on stdlib/functions are of different data (corpus, queries)" in found.reason


def test_overlap_counts_the_best_of_the_truth_among_the_candidates(tmp_path):
    records = {
        **stored(tmp_path, "a/truth", rotated(0)),
        **stored(tmp_path, "a/x", rotated(3)),
        **stored(tmp_path, "a/y", rotated(8)),
    }
    alone = only(claim(kind="overlap", truth="a/truth", k=10), records)
    assert alone.value.value == pytest.approx(0.7)
    found = only(claim(kind="overlap", truth="a/truth", than="a/y", k=10), records)
    assert found.value.parts == pytest.approx((0.7, 0.2))
    deeper = only(claim(kind="overlap", truth="a/truth", k=4, at=1), records)
    assert deeper.value.value == pytest.approx(0.25)


def test_candidates_are_the_depth_at_which_enough_is_found(tmp_path):
    # The truth's best document is at rank 2 of one and at rank 6 of the other, for every query.
    records = {
        **stored(tmp_path, "a/truth", rotated(5)),
        **stored(tmp_path, "a/x", rotated(4)),
        **stored(tmp_path, "a/y", rotated(0)),
    }
    check = {"kind": "candidates", "truth": "a/truth", "than": "a/y", "k": 1, "at_most": 0.5}
    found = only(claim(level=0.9, **check), records)
    assert found.value.parts == (2, 6)
    assert found.value.value == pytest.approx(1 / 3)
    never = only(claim(level=0.9, **{**check, "than": "a/far"}),
                 {**records, **stored(tmp_path, "a/far", rotated(25))})  # fmt: skip
    assert never.verdict == "not tested"
    assert "never reaches 90%" in never.reason


def test_hubness_is_the_skewness_of_how_often_documents_are_found(tmp_path):
    same = [[0, 1, 2]] * 40
    records = {
        **stored(tmp_path, "a/x", rotated(0)),
        **stored(tmp_path, "a/y", same),
    }
    found = only(claim(kind="hubness", than="a/y", k=3, at_most=0.0), records)
    counts = np.zeros(5606)
    counts[:3] = 40
    assert found.value.parts[1] == pytest.approx(scipy.stats.skew(counts))
    assert found.verdict == "holds"


def test_documents_that_are_found_equally_often_have_no_hubness(tmp_path):
    """40 queries find one of 40 documents each."""
    records = stored(tmp_path, "a/x", rotated(0, depth=1)) | stored(tmp_path, "a/y", rotated(0))
    for cell, (record, path) in records.items():
        few = record.task.model_copy(update={"n_documents": 40})
        records[cell] = record.model_copy(update={"task": few}), path
    found = only(claim(kind="hubness", than="a/y", k=1, at_most=0.0), records)
    assert found.verdict == "not tested"
    assert "a/x on stdlib/functions: every document is found equally often" in found.reason


def test_ratios_of_latency_are_of_one_machine(tmp_path):
    records = {
        **stored(tmp_path, "a/x", rotated(0)),
        **stored(tmp_path, "a/y", rotated(0), machine="ffffffff"),
    }
    speed = claim(kind="ratio", than="a/y", figure="profile.latency.total.p50_ms", at_most=2.0)
    assert "two machines" in only(speed, records).reason
    size = claim(kind="ratio", than="a/y", figure="profile.index.memory_bytes", at_most=1.0)
    assert only(size, records).value.value == 1.0
    record, path = records["a/y", TASK]
    index = record.profile.index.model_copy(update={"memory_bytes": 0})
    empty = record.profile.model_copy(update={"index": index})
    other = records | {("a/y", TASK): (record.model_copy(update={"profile": empty}), path)}
    assert "is 0, so a ratio to it is undefined" in only(size, other).reason
    unknown = claim(kind="ratio", than="a/y", figure="profile.index.speed", at_most=1.0)
    assert "no number 'profile.index.speed'" in only(unknown, records).reason


def test_a_share_is_a_ratio_and_a_value_the_measure(tmp_path):
    records = {
        **stored(tmp_path, "a/x", rotated(0), ndcg=np.full(40, 0.45)),
        **stored(tmp_path, "a/y", rotated(0), ndcg=np.full(40, 0.5)),
    }
    found = only(claim(kind="share", than="a/y", measure="nDCG@10", at_least=0.95), records)
    assert found.value.value == pytest.approx(0.9)
    assert found.verdict == "does not hold"
    assert only(claim(kind="value", measure="nDCG@10"), records).value.value == pytest.approx(0.45)


def test_multiply_adds_are_a_share_of_whole_vectors(tmp_path):
    base = make_record("a/x")
    method = base.method.model_copy(
        update={
            "parameters": {"dims": [24, 384]},
            "description": {"multiply_adds": {"per_document": 24, "per_query": 5606 * 2}},
        }
    )
    store = ResultStore(tmp_path)
    record = store.write(base.model_copy(update={"method": method}))
    found = only(claim(kind="multiply-adds", at_most=0.1), {("a/x", TASK): (record, tmp_path)})
    assert found.value.value == pytest.approx(26 / 384)
    plain = only(claim(kind="multiply-adds", at_most=0.1), {("a/x", TASK): (base, tmp_path)})
    assert plain.verdict == "not tested"


EDGES = {
    "at_least": {(0.0, 0.1): "holds", (-0.1, -0.01): "does not hold", (-0.1, 0.0): "inconclusive"},
    "above": {(0.0, 0.1): "inconclusive", (0.0, 0.0): "does not hold", (0.01, 0.1): "holds"},
    "at_most": {(-0.1, 0.0): "holds", (0.01, 0.1): "does not hold", (0.0, 0.1): "inconclusive"},
    "below": {(-0.1, 0.0): "inconclusive", (0.0, 0.0): "does not hold", (-0.1, -0.01): "holds"},
}


@pytest.mark.parametrize("name", EDGES)
def test_the_verdict_is_the_side_of_the_whole_interval(name):
    (check,) = claim(kind="value", measure="nDCG@10", **{name: 0.0}).checks
    for (low, high), verdict in EDGES[name].items():
        assert Finding(check, TASK, Value(0.0, low, high), "").verdict == verdict, (low, high)
    assert Finding(check, TASK, Value(0.0), "").verdict == "inconclusive"
    assert Finding(check, TASK, None, "why").verdict == "not tested"


@pytest.mark.parametrize(
    ("lows", "verdict"),
    [((1, 1), "holds"), ((1, -1), "does not hold"), ((None, -1), "does not hold"),
     ((None, 1), "not tested"), ((0, 1), "inconclusive"), ((0, None), "not tested")],
)  # fmt: skip
def test_a_claim_holds_in_every_check_and_fails_in_one(lows, verdict):
    tested = claim(kind="value", measure="nDCG@10", at_least=0.0)
    ends = {1: (0.1, 0.2), -1: (-0.2, -0.1), 0: (-0.1, 0.1)}
    findings = [
        Finding(tested.checks[0], TASK, None if low is None else Value(0.0, *ends[low]), "")
        for low in lows
    ]
    assert Result(tested, findings).verdict == verdict


def test_candidates_of_what_is_judged_relevant(tmp_path):
    records = {**stored(tmp_path, "a/x", rotated(4)), **stored(tmp_path, "a/y", rotated(0))}
    check = claim(kind="candidates", truth="judgements", than="a/y", level=1.0, at_most=0.5)
    relevant = {query: [DOCS[(row + 5) % len(DOCS)]] for row, query in enumerate(QUERIES)}
    found = only(check, records, lambda record: relevant)
    assert found.value.parts == (2, 6)
    assert check.cells() == [("a/x", TASK), ("a/y", TASK)]
    assert "not opened" in only(check, records).reason


def test_queries_that_training_did_not_see(tmp_path):
    values = np.linspace(0, 1, len(QUERIES))
    apart = np.arange(len(QUERIES)) < 10
    records = stored(tmp_path, "a/x", rotated(0), ndcg=values + apart * 0.5, unseen=apart)
    check = claim(kind="difference", than="a/y", measure="nDCG@10", unseen=True)
    there = {**records, **stored(tmp_path, "a/y", rotated(0), ndcg=values)}
    found = only(check, there)
    assert found.value.value == pytest.approx(0.5)
    assert found.value.n == 10
    assert "queries with unseen relevant documents" in markdown([evaluate_claim(check, there)])
    plain = dict.fromkeys(there, there["a/y", TASK])
    assert "unseen in training" in only(check, plain).reason
    later = np.arange(len(QUERIES)) >= 5
    there |= stored(tmp_path, "a/y", rotated(0), ndcg=values, unseen=later)
    assert only(check, there).value.n == 5, "neither training saw them"
    there |= stored(tmp_path, "a/y", rotated(0), ndcg=values, unseen=~apart)
    assert "of all queries" in only(check, there).reason


def test_without_an_interval_there_is_no_verdict(tmp_path):
    same = [list(range(20))] * 40
    records = {**stored(tmp_path, "a/x", same), **stored(tmp_path, "a/y", rotated(0))}
    truth = {query: ["none"] if row else ["d0"] for row, query in enumerate(QUERIES)}
    check = claim(kind="candidates", truth="judgements", than="a/y", level=0.02, at_most=1.0)
    found = only(check, records, lambda record: truth)
    assert (found.value.value, found.value.low, found.verdict) == (1, None, "inconclusive")
    few = {
        **stored(tmp_path, "a/x", same, ndcg=[0.1, 0.2, 0.3], ids=QUERIES[:3]),
        **stored(tmp_path, "a/y", same, ndcg=[0.0] * 3, ids=QUERIES[:3]),
    }
    found = only(claim(kind="difference", than="a/y", measure="nDCG@10"), few)
    assert (found.value.n, found.value.low, found.verdict) == (3, None, "inconclusive")


def test_another_measure_of_the_other(tmp_path):
    records = {**stored(tmp_path, "a/x", rotated(0)), **stored(tmp_path, "a/y", rotated(0))}
    other = claim(kind="difference", than="a/y", measure="nDCG@10", than_measure="RR")
    assert "'RR' was not measured" in only(other, records).reason


def test_a_ratio_of_latencies_has_the_interval_of_resampled_queries(tmp_path):
    rng = np.random.default_rng(0)
    times = {"a/x": rng.gamma(9, 0.11, 200), "a/y": rng.gamma(9, 0.1, 200)}
    records = {}
    for method, ms in times.items():
        records |= stored(tmp_path, method, rotated(0), latency=ms)
    check = claim(kind="ratio", than="a/y", figure="profile.latency.total.p50_ms", at_most=2.0)
    found = only(check, records)
    assert found.value.low < found.value.value < found.value.high
    exact = scipy.stats.bootstrap(
        (times["a/x"], times["a/y"]),
        lambda a, b, axis: np.median(a, axis=axis) / np.median(b, axis=axis),
        method="percentile", n_resamples=2000, rng=1,
    ).confidence_interval  # fmt: skip
    assert found.value.low == pytest.approx(exact.low, abs=0.03)
    assert found.value.high == pytest.approx(exact.high, abs=0.03)
    assert found.verdict == "holds"
    bare = {
        key: (record, tmp_path / "elsewhere" / "r.json") for key, (record, _) in records.items()
    }
    assert only(check, bare).verdict == "inconclusive"


def test_unmeasured_claims_are_reported_as_untested(tmp_path):
    failed = make_record("a/y", status="failed")
    records = {**stored(tmp_path, "a/x", rotated(0)), ("a/y", TASK): (failed, tmp_path)}
    result = evaluate_claim(claim(kind="difference", than="a/y", measure="nDCG@10"), records)
    assert result.verdict == "not tested"
    assert "stopped at 4.0 GiB" in result.reason
    result = evaluate_claim(claim(kind="difference", than="a/z", measure="nDCG@10"), records)
    assert "a/z on stdlib/functions: not measured" in result.reason


def test_a_claim_that_needs_an_extra_is_not_tested(tmp_path, monkeypatch):
    monkeypatch.setattr("rankstone.errors.installed", lambda *libraries: False)
    session = Session(workspace=ROOT, results=tmp_path)
    (found,), _ = session.claims("exit-curve")
    assert found.verdict == "not tested"
    assert "needs the extra 'dense'. Install: pip install 'rankstone[dense]'" in found.reason
    assert len(found.findings) == len(found.claim.pairs())
    assert found.claim.control
    assert "**0 of 1 were tested.**" in markdown([found])


def test_a_run_of_another_task(tmp_path):
    other, values = "stdlib/modules", np.linspace(0.2, 1, len(QUERIES))
    here = stored(tmp_path, "a/x", rotated(0), ndcg=values)
    there = stored(tmp_path, "a/x", rotated(0), ndcg=values - 0.125, task=other)
    tested = claim(kind="difference", than="a/x", than_on=other, measure="nDCG@10")
    assert tested.cells() == [("a/x", TASK), ("a/x", other)]
    (finding,) = evaluate_claim(tested, {**here, **there}).findings
    assert finding.value.value == pytest.approx(0.125, abs=1e-6)
    result = evaluate_claim(tested, here)
    assert result.reason == f"a/x on {other}: not measured"
    assert f"of a/x on {other}" in markdown([result])


def test_a_gap_that_widens_is_paired_by_query(tmp_path):
    other, draw = "stdlib/modules", np.random.default_rng(0)
    values = {(m, t): draw.random(len(QUERIES)) for m in ("a/x", "a/y") for t in (TASK, other)}
    records = {}
    for (name, task), ndcg in values.items():
        folder = tmp_path / f"{name}-{task}".replace("/", "-")
        folder.mkdir()
        records |= stored(folder, name, rotated(0), ndcg=ndcg, task=task)
    tested = claim(kind="widening", than="a/y", than_on=other, measure="nDCG@10")
    assert sorted(tested.cells()) == sorted(values)
    (finding,) = evaluate_claim(tested, records).findings
    here, there = (values["a/y", task] - values["a/x", task] for task in (TASK, other))
    assert finding.value.value == pytest.approx((here - there).mean(), abs=1e-6)
    assert finding.value.parts == pytest.approx((here.mean(), there.mean()), abs=1e-6)
    assert finding.value.low < finding.value.value < finding.value.high
    text = markdown([evaluate_claim(tested, records)])
    assert f"nDCG@10 of a/y − of a/x, less that on {other}" in text


def test_folds_count_as_one_collection(tmp_path):
    """Their difference is over all queries, which no single fold would show."""
    gains, records = {"x": (0.75, 0.25), "y": (0.25, 0.5)}, {}
    for method, means in gains.items():
        for number, mean in enumerate(means, start=1):
            on, ids = f"{TASK}@fold{number}of2", [f"{number}-{query}" for query in QUERIES]
            values = np.full(len(QUERIES), mean)
            records |= stored(tmp_path, f"a/{method}", rotated(0), ndcg=values, task=on, ids=ids)
    tested = claim(kind="difference", than="a/y", measure="nDCG@10", folds=2)
    assert tested.cells() == [
        (f"a/{method}", f"{TASK}@fold{number}of2") for method in "xy" for number in (1, 2)
    ]
    (finding,) = evaluate_claim(tested, records).findings
    assert finding.value.value == pytest.approx((0.5 - 0.25) / 2, abs=1e-6)
    assert finding.value.n == 2 * len(QUERIES)
    assert f"| {TASK}, 2 folds |" in markdown([evaluate_claim(tested, records)])
    first = f"{TASK}@fold1of2"
    same = records | {("a/x", f"{TASK}@fold2of2"): records["a/x", first]}
    assert "folds share queries" in evaluate_claim(tested, same).reason
    alone = {key: one for key, one in records.items() if key[1] == first}
    assert evaluate_claim(tested, alone).reason == f"a/x on {TASK}@fold2of2: not measured"
    with pytest.raises(ValidationError, match="are for difference and share"):
        claim(kind="value", measure="nDCG@10", folds=2)


def test_the_cost_is_of_all_runs_and_of_each_training_once():
    trained = make_trained_record()  # its training took 812.5 s
    again = trained.training[0].model_copy(update={"reused": True})

    def run(wall_s, *training):
        profile = trained.profile.model_copy(update={"wall_s": wall_s})
        return trained.model_copy(update={"profile": profile, "training": list(training)})

    assert seconds([run(900.0, *trained.training), run(20.0, again)]) == 920.0
    assert seconds([run(30.0, again), run(20.0, again), run(10.0)]) == 60.0 + 812.5
    assert seconds([run(30.0), run(None)]) is None
    assert seconds([]) is None
    shown = Result(claim(kind="value", measure="nDCG@10"), [], 872.5)
    assert " Measured in 1 run, in 14:32 min." in markdown([shown])


def test_a_terminal_shows_brackets_as_they_are():
    lacking = evaluate_claim(claim(kind="difference", than="a/[z]", measure="nDCG@10"), {})
    assert "of a/[z]" in " ".join(render(claims_page([lacking]), width=200).split())


def test_page_and_json_say_the_same(tmp_path):
    records = {
        **stored(tmp_path, "a/x", rotated(0)),
        **stored(tmp_path, "a/y", rotated(3)),
    }
    tested = claim(kind="overlap", truth="a/x", of="a/y", k=10, at_least=0.5)
    untestable = ClaimSpec(name="u", statement="s", source="p", untestable="never released")
    results = [evaluate_claim(one, records) for one in (tested, untestable)]
    page = markdown(results)
    again = claims_from_json(claims_to_json(results, records), {"c": tested, "u": untestable})
    assert markdown(again) == page
    assert page.index("**1 of 2 were tested: 1 holds.**") < page.index("| 1 of 1 | **holds** |")
    assert "| u | s (p) | never released |" in page.partition("## Not tested")[2]
    assert ".7000" in page
    assert json.loads(render(claims_page(results, records), "json")) == json.loads(
        claims_to_json(results, records)
    )
    text = claims_to_json(results, records)
    assert claims_to_json(results[:1], records, text) == text, "other claims stay"
    assert claims_to_json([evaluate_claim(tested, {})], {}, text) == text, "so do measured values"
    reworded = claim(kind="overlap", truth="a/x", of="a/y", k=10, at_least=0.5, reported="more")
    assert "| more |" in markdown(claims_from_json(text, {"c": reworded, "u": untestable}))
    other = claim(kind="overlap", truth="a/x", of="a/y", k=10, at_least=0.6)
    anew = claims_to_json([evaluate_claim(other, records)], records, text)
    assert [one.claim for one in claims_from_json(anew, {"c": other, "u": untestable})] == [
        other, untestable
    ]  # fmt: skip
    with pytest.raises(ResultsError, match="not defined as it was"):
        claims_from_json(claims_to_json(results, records), {"c": other, "u": untestable})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('checks = [{ kind = "diference", of = "a", at_least = 0 }]', "Did you mean: difference"),
        ('checks = [{ kind = "difference", of = "a", at_least = 0 }]', "needs the key 'than'"),
        ('checks = [{ kind = "value", of = "a", measure = "RR" }]', "is the bound"),
        ('untestable = "no weights"\nchecks = [{ kind = "value", of = "a", measure = "RR",'
         " at_least = 0 }]", "either 'checks' or a reason"),
        ("", "either 'checks' or a reason"),
        ('checks = [{ kind = "value", of = "a", measure = "RR", at_least = 0 }]', "'reported'"),
        ('checks = [{ kind = "value", of = "a", measure = "RR", at_least = 0, reported = "1",'
         ' tasks = ["u"] }]', "not among the claim's 'tasks'"),
    ],
)  # fmt: skip
def test_definitions_are_refused_with_file_and_remedy(tmp_path, text, said):
    head = 'statement = "s"\nsource = "p"\ntasks = ["t"]\n'
    (tmp_path / "bad.toml").write_text(head + text)
    with pytest.raises(DefinitionError, match=r"bad\.toml") as caught:
        load_folder(ClaimSpec, tmp_path)
    assert said in str(caught.value)


def test_claims_are_chosen_by_name():
    known = {"muvera": None, "bebr": None}
    assert chosen(known, (), "Claim") == [None, None]
    with pytest.raises(DefinitionError, match="Did you mean: muvera"):
        chosen(known, ["muvra"], "Claim")


def test_every_kind_is_described():
    assert all(check.reads and check.function.__doc__ for check in CHECKS.values())


def test_the_claims_of_this_repository_name_what_is_defined():
    place = Workspace.find(ROOT)
    for claim in load_folder(ClaimSpec, place.root / "leaderboards" / "claims").values():
        for method, task in claim.cells():
            assert method.startswith("runs/") or method in place.method_names(), claim.name
            assert task.partition("@fold")[0] in place.tasks, claim.name
        kinds = {check.kind for check in claim.checks}
        for check in claim.checks:
            if check.measure:
                for task in check.tasks or claim.tasks:
                    assert check.measure in place.task(task).measures, (claim.name, task)
                    other = check.than_measure or check.measure
                    assert other in place.task(check.than_on or task).measures, claim.name
        assert kinds <= set(CHECKS)
