"""Core measures on runs small enough for manual scoring."""

from __future__ import annotations

from math import log2

import ir_measures
import numpy as np
import pytest

from rankstone.errors import AdapterError, MeasureError
from rankstone.evaluation.evaluate import evaluate_run
from rankstone.evaluation.measure_names import canonical

RUN = """
q1 d1 9
q1 d2 8
q1 d3 7
q1 d4 6
q1 d5 5
q2 d6 3
q2 d1 2
q2 d7 1
"""
QRELS = """
q1 d1 0
q1 d2 2
q1 d4 1
q1 d9 3
q1 d5 -1
q2 d7 1
"""


def read_run(text):
    """Lines of `query document score`."""
    run = {}
    for query, document, score_ in map(str.split, text.strip().splitlines()):
        run.setdefault(query, []).append((document, float(score_)))
    return run


def read_qrels(text):
    """Lines of `query document label`."""
    qrels = {}
    for query, document, label in map(str.split, text.strip().splitlines()):
        qrels.setdefault(query, {})[document] = int(label)
    return qrels


def score(*measures, run=RUN, qrels=QRELS, **options):
    options.setdefault("depth", 5)
    return evaluate_run(read_run(run), read_qrels(qrels), measures=measures, **options)


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("recall@100", "R@100"), ("Recall@5", "R@5"), ("ndcg@10", "nDCG@10"), ("mrr@10", "RR@10"),
        ("map", "AP"), ("MAP(rel=2)@10", "AP(rel=2)@10"), ("p@5", "P@5"), ("AP", "AP"),
    ],
)  # fmt: skip
def test_a_measure_has_one_name_in_records(name: str, known: str) -> None:
    assert canonical(name) == known
    assert ir_measures.parse_measure(known) == ir_measures.parse_measure(
        name if name[0].isupper() else known
    )


@pytest.mark.parametrize(
    ("name", "q1", "q2"),
    [
        ("nDCG@2", (2 / log2(3)) / (3 + 2 / log2(3)), 0.0),
        ("nDCG@5", (2 / log2(3) + 1 / log2(5)) / (3 + 2 / log2(3) + 0.5), 0.5),
        ("nDCG", (2 / log2(3) + 1 / log2(5)) / (3 + 2 / log2(3) + 0.5), 0.5),
        ("nDCG_exp@5", (3 / log2(3) + 1 / log2(5)) / (7 + 3 / log2(3) + 0.5), 0.5),
        ("R@2", 1 / 3, 0.0),
        ("R@5", 2 / 3, 1.0),
        ("R(rel=2)@5", 1 / 2, 0.0),
        ("R_cap@2", 1 / 2, 0.0),
        ("R_cap@3", 1 / 3, 1.0),
        ("RR", 1 / 2, 1 / 3),
        ("RR@2", 1 / 2, 0.0),
        ("RR(rel=1)@4", 1 / 2, 1 / 3),
        ("AP", (1 / 2 + 2 / 4) / 3, 1 / 3),
        ("AP@3", (1 / 2) / 3, 1 / 3),
        ("AP(rel=2)", (1 / 2) / 2, 0.0),
        ("P@2", 1 / 2, 0.0),
        ("P@5", 2 / 5, 1 / 5),
        ("Success@1", 0.0, 0.0),
        ("Success@3", 1.0, 1.0),
        ("Judged@5", 4 / 5, 1 / 3),
        ("Judged", 4 / 5, 1 / 3),
        ("Judged@2", 1.0, 0.0),
    ],
)
def test_measures_have_the_values_computed_by_hand(name, q1, q2):
    evaluation = score(name)
    assert evaluation.per_query[name] == pytest.approx([q1, q2], abs=1e-12)
    assert evaluation.measures[name].mean == pytest.approx((q1 + q2) / 2)
    assert evaluation.measures[name].n == 2


def test_the_ideal_of_plain_ndcg_is_not_truncated():
    whole = score("nDCG", "nDCG@2", depth=2)
    assert whole.per_query["nDCG"][0] < whole.per_query["nDCG@2"][0]


def test_the_tasks_threshold_moves_binary_measures_without_their_own():
    low, high = score("AP", "AP(rel=1)", "nDCG@5"), score("AP", "AP(rel=1)", "nDCG@5", relevance=2)
    assert high.measures["AP"].mean == score("AP(rel=2)").measures["AP(rel=2)"].mean
    assert high.measures["AP(rel=1)"] == low.measures["AP(rel=1)"]
    assert high.measures["nDCG@5"] == low.measures["nDCG@5"]


def test_the_mean_runs_over_all_judged_queries():
    qrels = QRELS + "q3 d1 1\nq4 d1 0\n"
    evaluation = score("RR", "Judged@5", run=RUN + "q4 d1 1\nunjudged d1 1\n", qrels=qrels)
    assert evaluation.query_ids == ["q1", "q2", "q3", "q4"]
    assert evaluation.per_query["RR"].tolist() == [1 / 2, 1 / 3, 0, 0]
    assert evaluation.measures["RR"].mean == pytest.approx((1 / 2 + 1 / 3) / 4)
    assert evaluation.queries.n == 4
    assert evaluation.queries.n_missing == 1, "q3 has no results; q4 has, but none is relevant"
    assert evaluation.per_query["Judged@5"].tolist() == [4 / 5, 1 / 3, 0, 1]


def test_a_run_without_any_result():
    evaluation = score("nDCG@5", "AP", "RR", "R@5", "P@5", "Judged@5", run="zz d1 1")
    assert all(measure.mean == 0 for measure in evaluation.measures.values())
    assert evaluation.queries.n_missing == 2


def test_names_are_kept_as_asked():
    evaluation = score("MRR@5", "RR@5", "nDCG(dcg='exp-log2')@5")
    assert list(evaluation.measures) == ["MRR@5", "RR@5", "nDCG(dcg='exp-log2')@5"]
    assert list(evaluation.per_query) == list(evaluation.measures)
    assert evaluation.measures["MRR@5"] == evaluation.measures["RR@5"]


@pytest.mark.parametrize("name", ["nDCG@6", "Judged@6", "RR@6", "ERR@6", "P(rel=2)@6"])
def test_a_measure_deeper_than_the_run_is_refused(name):
    with pytest.raises(MeasureError, match=r"needs 6 results.* has 5 .*depth 6"):
        score(name)


def test_no_queries_is_an_error_not_a_mean_of_nothing():
    with pytest.raises(MeasureError, match="no judged queries"):
        score("RR", qrels="")


def test_a_run_with_faults_is_refused():
    with pytest.raises(
        AdapterError, match=r"run\.trec: query row 0, column 5, .*document 0 .*twice"
    ):
        score("RR", run=RUN + "q1 d1 1\n", method="run.trec")
    with pytest.raises(AdapterError, match="NaN"):
        score("RR", run="q1 d1 nan")


def test_self_hits_of_a_run():
    run = "d2 d2 9\nd2 d1 8\nd2 d3 7\n"
    kept = score("RR", run=run, qrels="d2 d1 1")
    dropped = score("RR", run=run, qrels="d2 d1 1", drop_self=True)
    assert (kept.measures["RR"].mean, dropped.measures["RR"].mean) == (0.5, 1.0)


def test_scores_beyond_float32_tie_at_infinity():
    evaluation = score("RR", run="q1 d1 1e300\nq1 d2 1e200", qrels="q1 d1 1")
    assert evaluation.queries.n_tied == 1
    assert evaluation.measures["RR"].mean == 0.5


def test_long_tail_sees_our_order_threshold_and_queries():
    evaluation = score("Rprec", "Rprec(rel=2)", "Bpref", qrels=QRELS + "q3 d1 1\n")
    assert evaluation.per_query["Rprec"] == pytest.approx([1 / 3, 0, 0])
    assert evaluation.per_query["Rprec(rel=2)"] == pytest.approx([1 / 2, 0, 0])
    assert evaluation.measures["Rprec"].best is None
    assert score("Rprec", relevance=2).per_query["Rprec"] == pytest.approx([1 / 2, 0])
    tied = score("RR", "RR(judged_only=True)", run="q1 d1 1\nq1 d2 1", qrels="q1 d2 1\nq1 d1 0")
    assert tied.per_query["RR"].tolist() == tied.per_query["RR(judged_only=True)"].tolist() == [1]


def test_a_query_with_only_negative_labels_scores_0_and_stays_in_the_mean():
    qrels = QRELS + "q3 d1 -1\nq3 d2 -2\n"
    evaluation = score("nDCG@5", "AP", "Rprec", run=RUN + "q3 d1 1\n", qrels=qrels)
    assert [values[2] for values in evaluation.per_query.values()] == [0, 0, 0]
    assert evaluation.measures["Rprec"].n == 3


def test_per_query_values_are_float64():
    assert all(v.dtype == np.float64 for v in score("P@5", "Success@5").per_query.values())
