"""Our core against ir_measures, pytrec_eval and the MS MARCO script, on generated runs.

The oracles differ in how they break ties. Where the rule is not what is tested, they get scores
that fall strictly in our order; where it is, they get the tied run itself.
"""

from __future__ import annotations

import ir_measures
import numpy as np
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st

from rankstone.benchmarks.dataset import Judgements
from rankstone.evaluation import judged_ranks as placement
from rankstone.evaluation.evaluate import evaluate_run
from rankstone.evaluation.judged_ranks import place
from rankstone.evaluation.ranking import rank
from rankstone.runners.protocols import Hits

DEPTH = 9
NAMES = (
    "nDCG", "nDCG@1", "nDCG@3", "nDCG@6", "AP", "AP@3", "AP(rel=2)", "AP(rel=2)@4", "RR", "RR@2",
    "RR(rel=2)@6", "R@1", "R@5", "R(rel=2)@3", "P@1", "P@6", "P(rel=3)@2", "Success@1",
    "Success(rel=2)@4", "Judged@1", "Judged@6", "Judged",
)  # fmt: skip
TREC_NAMES = {
    "nDCG": "ndcg", "nDCG@3": "ndcg_cut_3", "AP": "map", "AP@3": "map_cut_3", "RR": "recip_rank",
    "R@5": "recall_5", "P@6": "P_6", "Success@1": "success_1",
}  # fmt: skip

relaxed = settings(deadline=None)
"""The first example imports, and other work may share the machine."""

document_ids = st.sampled_from(
    ["1", "10", "2", "a", "b", "D", "é", "z", "zz", "ß", "東", "\uff21", "\U0001f600", "d-1"]
)
scores = st.sampled_from([0.0, -0.0, 1.0, 2.5, -3.0, 0.9, 0.9 + 1e-9, 1e30, float("inf")])
query_ids = st.sampled_from(["q1", "q2", "q3", "ф"])
runs = st.dictionaries(query_ids, st.dictionaries(document_ids, scores, max_size=DEPTH))
qrels = st.dictionaries(
    query_ids, st.dictionaries(document_ids, st.integers(-2, 4), min_size=1), min_size=1
)


def ours(run, judged, names, depth=DEPTH):
    pairs = {query: list(results.items()) for query, results in run.items()}
    return evaluate_run(pairs, judged, measures=names, depth=depth)


def for_pytrec_eval(judged):
    """Labels of 0 for a query that has only negative ones: pytrec_eval crashes on it."""
    return {
        query: labels if max(labels.values()) >= 0 else dict.fromkeys(labels, 0)
        for query, labels in judged.items()
    }


def strict_run(evaluation, run):
    """The run cut at our depth, with scores that fall strictly in our order; no empty queries."""
    kept = {}
    positions = list(dict.fromkeys(d for q in evaluation.query_ids for d in run.get(q, ())))
    for query, row in zip(evaluation.query_ids, evaluation.ranking.docs, strict=True):
        docs = [positions[d] for d in row if d >= 0]
        if docs:
            kept[query] = {doc: float(len(docs) - place) for place, doc in enumerate(docs)}
    return kept


@relaxed
@given(runs, qrels, st.integers(6, DEPTH))
def test_equal_to_ir_measures_in_our_order(run, judged, depth):
    evaluation = ours(run, judged, NAMES, depth)
    parsed = {ir_measures.parse_measure(name): name for name in NAMES}
    expected = {name: dict.fromkeys(judged, 0.0) for name in NAMES}
    for metric in ir_measures.iter_calc(
        list(parsed), for_pytrec_eval(judged), strict_run(evaluation, run)
    ):
        expected[parsed[metric.measure]][metric.query_id] = metric.value
    for name in NAMES:
        values = list(expected[name].values())
        assert evaluation.per_query[name] == pytest.approx(values, abs=1e-6), name


@relaxed
@given(runs, qrels)
def test_equal_to_trec_eval_on_tied_runs(run, judged):
    evaluation = ours(run, judged, TREC_NAMES)
    evaluator = pytrec_eval.RelevanceEvaluator(for_pytrec_eval(judged), set(TREC_NAMES.values()))
    theirs = evaluator.evaluate(run)
    for name, trec_name in TREC_NAMES.items():
        values = [theirs.get(query, {}).get(trec_name, 0.0) for query in judged]
        assert evaluation.per_query[name] == pytest.approx(values, abs=1e-6), name


@relaxed
@given(runs, qrels)
def test_ties_bound_the_mean(run, judged):
    for name, measure in ours(run, judged, NAMES).measures.items():
        assert measure.worst - 1e-12 <= measure.mean <= measure.best + 1e-12, name
        assert 0 <= measure.low <= measure.high <= 1 + 1e-12, name


@relaxed
@given(runs, qrels, st.randoms())
def test_the_order_of_the_input_does_not_matter(run, judged, random):
    shuffled = {q: dict(random.sample(list(r.items()), len(r))) for q, r in run.items()}
    assert ours(run, judged, NAMES).measures == ours(shuffled, judged, NAMES).measures


@relaxed
@given(st.data())
def test_both_ways_to_find_judged_documents_agree(data):
    n_queries, n_documents = 3, 8
    rows = [
        data.draw(st.lists(st.integers(0, n_documents - 1), unique=True, max_size=4))
        for _ in range(n_queries)
    ]
    docs = np.array([row + [-1] * (4 - len(row)) for row in rows], dtype=np.int64)
    query_and_document = st.tuples(st.integers(0, n_queries - 1), st.integers(0, n_documents - 1))
    pairs = data.draw(st.lists(query_and_document, unique=True, min_size=1))
    query, document = np.array(sorted(pairs), dtype=np.int64).T
    each = placement._find_each(docs, query, document)
    table = placement._look_up_all(docs, query, document)
    assert sorted(zip(*map(np.ndarray.tolist, each), strict=True)) == sorted(
        zip(*map(np.ndarray.tolist, table), strict=True)
    )


def test_many_judgements_per_query_take_the_other_way(monkeypatch):
    docs = np.arange(200, dtype=np.int64)[None]
    ranking = rank(Hits(docs, -docs.astype(np.float32)), ids=lambda found: [], depth=200)
    label = (np.arange(300) % 3).astype(np.int32)
    judged = Judgements(query=np.zeros(300, np.int64), document=np.arange(300), label=label)
    dense = place(ranking, judged)
    monkeypatch.setattr(placement, "MANY", 10**6)
    sparse = place(ranking, judged)
    assert np.array_equal(dense.rank, sparse.rank)
    assert np.array_equal(dense.label, sparse.label)


def test_exponential_gains_equal_their_definition():
    judged = {"q": {"a": 3, "b": -1, "c": 1, "d": 2}}
    run = {"q": {"b": 9.0, "a": 8.0, "x": 7.0, "c": 6.0}}
    gain = {"a": 7, "c": 1, "d": 3}
    dcg = gain["a"] / np.log2(3) + gain["c"] / np.log2(5)
    ideal = 7 + 3 / np.log2(3) + 1 / 2
    value = ours(run, judged, ["nDCG_exp@4"]).measures["nDCG_exp@4"].mean
    assert value == pytest.approx(dcg / ideal)


def test_known_deviation_ir_measures_breaks_ties_in_two_ways():
    run, judged = {"q": {"a": 1.0, "b": 1.0}}, {"q": {"a": 1}}
    names = ("RR", "RR@10")
    theirs = ir_measures.calc_aggregate(map(ir_measures.parse_measure, names), judged, run)
    assert [theirs[ir_measures.parse_measure(name)] for name in names] == [0.5, 1.0]
    measures = ours(run, judged, names, depth=10).measures
    assert [measures[name].mean for name in names] == [0.5, 0.5]


def test_known_deviation_trec_eval_divides_by_the_queries_found():
    run, judged = {"q1": {"a": 1.0}}, {"q1": {"a": 1}, "q2": {"a": 1}}
    theirs = pytrec_eval.RelevanceEvaluator(judged, {"recip_rank"}).evaluate(run)
    assert np.mean([values["recip_rank"] for values in theirs.values()]) == 1.0
    assert ours(run, judged, ["RR"]).measures["RR"].mean == 0.5
