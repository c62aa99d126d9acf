"""Rules of other tools against the tools: trec_eval by pytrec_eval, ir_measures, examples."""

from __future__ import annotations

from dataclasses import replace

import ir_measures
import numpy as np
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st

from rankstone.evaluation.conventions.comparison import compare
from rankstone.evaluation.conventions.rules import EVERY_LABEL, Rules, Tool
from rankstone.evaluation.conventions.tools import (
    BEIR,
    IR_MEASURES,
    MSMARCO,
    MTEB,
    TOOLS,
    TREC_EVAL,
)
from tests.runs import lines_of

MEASURES = ("nDCG@3", "nDCG", "AP", "AP@3", "RR", "R@3", "P@3", "Success@3")
TREC_NAMES = {
    "ndcg_cut_3", "ndcg", "map", "map_cut_3", "recip_rank", "recall_3", "P_3", "success_3",
}  # fmt: skip
DOCUMENTS = [f"d{n}" for n in range(8)]
QUERIES = ["q1", "q2", "d3"]  # the last is also a document: a self hit

labels = st.dictionaries(st.sampled_from(DOCUMENTS), st.integers(0, 3), min_size=1)
qrels_of = st.fixed_dictionaries(dict.fromkeys(QUERIES, labels))
# Few distinct scores, so that there are ties; the order of the dictionary is the file's.
lists = st.dictionaries(st.sampled_from(DOCUMENTS), st.sampled_from([1.0, 2.0, 3.0]), min_size=1)
runs = st.dictionaries(st.sampled_from(QUERIES), lists, min_size=1)


OURS = Rules()


def compared(run, qrels, tool: Tool, *measures: str, ours: Rules = OURS, **options):
    found = compare(
        lines_of(run), qrels, measures=measures, depth=10, ours=ours, tool=tool, **options
    )
    return {row.measure: row for row in found}


@settings(max_examples=60, deadline=None)
@given(run=runs, qrels=qrels_of)
def test_trec_eval_is_what_pytrec_eval_computes(run, qrels) -> None:
    theirs = pytrec_eval.RelevanceEvaluator(qrels, TREC_NAMES).evaluate(run)
    found = compared(run, qrels, TREC_EVAL, *MEASURES)
    assert {row.name for row in found.values()} == TREC_NAMES
    for row in found.values():
        mean = np.mean([values[row.name] for values in theirs.values()])
        assert row.theirs == pytest.approx(mean, abs=1e-9), row
        assert row.shown == pytest.approx(mean, abs=5.1e-5), row


@settings(max_examples=30, deadline=None)
@given(run=runs, qrels=qrels_of)
def test_ir_measures_is_what_its_default_providers_compute(run, qrels) -> None:
    found = compared(run, qrels, IR_MEASURES, *MEASURES, "RR@3")
    theirs = ir_measures.calc_aggregate(map(ir_measures.parse_measure, found), qrels, run)
    assert {str(name) for name in theirs} == {row.name for row in found.values()}
    for name, value in theirs.items():
        assert found[str(name)].theirs == pytest.approx(value, abs=1e-9), name


@settings(max_examples=60, deadline=None)
@given(run=runs, qrels=qrels_of, ours=st.sampled_from([1, 2]), tool=st.sampled_from([*TOOLS]))
def test_causes_sum_to_the_difference(run, qrels, ours, tool) -> None:
    measures = (*MEASURES, "RR@10", "Judged@3", "R_cap@3")
    found = compared(run, qrels, TOOLS[tool], *measures, ours=Rules(relevance=ours))
    assert found
    for row in found.values():
        assert row.ours + sum(amount for _, amount in row.moved) == pytest.approx(row.theirs)


def test_trec_eval_leaves_missing_queries_out_of_the_mean() -> None:
    run, qrels = {"q1": {"d1": 1.0}}, {"q1": {"d1": 1}, "q2": {"d1": 1}}
    (row,) = compared(run, qrels, TREC_EVAL, "AP").values()
    assert (row.ours, row.theirs) == (0.5, 1.0)
    assert row.moved == (("mean over 1 queries, not 2", 0.5),)


def test_scores_that_tie_as_float32_do_not_as_float64() -> None:
    run, qrels = {"q": {"d1": 0.90000000002, "d2": 0.90000000001}}, {"q": {"d1": 1}}
    (old,) = compared(run, qrels, TREC_EVAL, "RR").values()
    theirs = pytrec_eval.RelevanceEvaluator(qrels, {"recip_rank"}).evaluate(run)
    assert old.theirs == theirs["q"]["recip_rank"] == 0.5  # a tie, and d2 comes first
    form = TREC_EVAL.forms["RR"]
    double = replace(form, rules=replace(form.rules, score_dtype="float64"))
    (new,) = compared(run, qrels, replace(TREC_EVAL, forms={"RR": double}), "RR").values()
    assert new.theirs == 1.0
    assert new.moved == (("scores compared as float64, not float32", 0.5),)


def test_ir_measures_breaks_ties_of_rr_at_10_the_other_way() -> None:
    """The library is inconsistent: both rules are supported, and each is compared with one."""
    run, qrels = {"q": {"a": 1.0, "b": 1.0}}, {"q": {"a": 1}}
    theirs = ir_measures.calc_aggregate([ir_measures.RR, ir_measures.RR @ 10], qrels, run)
    assert (theirs[ir_measures.RR], theirs[ir_measures.RR @ 10]) == (0.5, 1.0)
    form = TREC_EVAL.forms["RR"]
    ascending = replace(form, rules=Rules(order="score, document id ascending"))
    found = compared(run, qrels, replace(TREC_EVAL, forms={"RR": ascending}), "RR", "RR@10")
    assert {name: row.ours for name, row in found.items()} == {"RR": 0.5, "RR@10": 0.5}
    assert {name: row.theirs for name, row in found.items()} == {"RR": 1.0, "RR@10": 1.0}


@pytest.mark.parametrize(("threshold", "name"), [(1, "map"), (2, "map -l 2")])
def test_trec_eval_has_a_threshold_and_others_have_not(threshold: int, name: str) -> None:
    run, qrels = {"q": {"a": 2.0, "b": 1.0}}, {"q": {"a": 1, "b": 2}}
    asked = f"AP(rel={threshold})"
    (row,) = compared(run, qrels, TREC_EVAL, asked).values()
    evaluator = pytrec_eval.RelevanceEvaluator(qrels, {"map"}, relevance_level=threshold)
    assert (row.name, row.theirs) == (name, evaluator.evaluate(run)["q"]["map"])
    assert (asked in compared(run, qrels, BEIR, asked)) is (threshold == 1)


def test_ms_marco_goes_by_rank_divides_by_all_and_knows_no_labels() -> None:
    # Ranks, as the script reads them: q1 at 2; q2 finds nothing; q3 is missing. (1/2) / 3.
    run = {"q1": {"x": 1.0, "a": 9.0}, "q2": {"y": 1.0}}
    qrels = {"q1": {"a": 1}, "q2": {"a": 1}, "q3": {"a": 1}}
    (row,) = compared(run, qrels, MSMARCO).values()
    assert (row.measure, row.name) == ("RR@10", "MRR @10")
    assert (row.ours, row.theirs) == (pytest.approx(1 / 3), pytest.approx(1 / 6))
    assert [rule for rule, _ in row.moved] == [
        "order: file order, not score, document id descending"
    ]
    (row,) = compared({"q": {"a": 1.0}}, {"q": {"a": 0, "b": 1}}, MSMARCO).values()
    assert (row.ours, row.theirs) == (0.0, 1.0)
    assert MSMARCO.forms["RR"].rules.relevance == EVERY_LABEL
    assert not compared({"q": {"a": 1.0}}, {"q": {"a": 1}}, replace(MSMARCO, always=()), "RR@5")


def test_beir_counts_holes_over_all_queries_and_over_k() -> None:
    # q1: a judged for itself, b for q2, x for nobody: one hole in ten places.
    run, qrels = {"q1": {"a": 3.0, "b": 2.0, "x": 1.0}}, {"q1": {"a": 1}, "q2": {"b": 1}}
    (row,) = compared(run, qrels, BEIR, "Judged@10").values()
    assert (row.name, row.ours) == ("1 - Hole@10", pytest.approx(1 / 6))
    assert row.theirs == pytest.approx((0.9 + 1.0) / 2)


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [("beir/fiqa", 1.0), ("beir/nfcorpus", 0.5), ("nano-beir/fiqa", 0.5)],
)
def test_mteb_drops_self_hits_on_some_collections(dataset: str, expected: float) -> None:
    run, qrels = {"q": {"q": 2.0, "a": 1.0}}, {"q": {"a": 1}}
    found = compared(run, qrels, MTEB, "RR@10", dataset=dataset)["RR@10"]
    assert (found.name, found.theirs) == ("mrr_at_10", expected)
    theirs = compared(run, qrels, BEIR, "RR@10", dataset=dataset)["RR@10"]
    assert theirs.theirs == 1.0  # wherever it is
    assert theirs.moved == (("self hits: drop, not keep", 0.5),)


def test_measures_without_a_counterpart_are_left_out() -> None:
    run, qrels = {"q": {"a": 1.0}}, {"q": {"a": 1}}
    assert compared(run, qrels, TREC_EVAL, "Judged@3", "nDCG_exp@3", "Rprec", "nDCG@100") == {}
    assert compared(run, qrels, BEIR, "nDCG") == {}
    assert compared(run, qrels, BEIR, "AP")["AP"].name == "MAP@10"  # the depth of the run


def test_an_empty_run_scores_nothing() -> None:
    (row,) = compared({}, {"q": {"a": 1}}, TREC_EVAL, "AP").values()
    assert (row.ours, row.theirs) == (0.0, 0.0)
