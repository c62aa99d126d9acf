"""Bounds of measures over the possible orders of ties."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest

from rankstone.evaluation.evaluate import evaluate_run

MEASURES = (
    "nDCG@3", "nDCG", "nDCG_exp@2", "R@2", "R_cap@2", "RR", "RR@2", "AP", "AP@2", "AP(rel=2)",
    "P@3", "Success@2", "Judged@2", "Judged@4",
)  # fmt: skip


def test_a_constant_scorer_does_not_get_rr_1():
    run = {"q": [(f"d{i}", 1.0) for i in range(10)]}
    evaluation = evaluate_run(run, {"q": {"d9": 1}}, measures=["RR"], depth=10)
    measure = evaluation.measures["RR"]
    assert (measure.mean, measure.best, measure.worst) == (1.0, 1.0, pytest.approx(0.1))
    assert evaluation.queries.n_tied == 1


def test_without_ties_best_and_worst_are_the_mean():
    run = {"q": [("d1", 3.0), ("d2", 2.0), ("d3", 1.0)]}
    evaluation = evaluate_run(run, {"q": {"d3": 2}}, measures=MEASURES, depth=4)
    assert evaluation.queries.n_tied == 0
    assert all(m.best == m.worst == m.mean for m in evaluation.measures.values())


def orders_of(run):
    """Return all orders of each query that its ties permit, as runs without ties."""
    per_query = []
    for query, results in run.items():
        scores = sorted({score for _, score in results}, reverse=True)
        groups = [[d for d, s in results if s == score] for score in scores]
        orders = product(*(permutations(group) for group in groups))
        per_query.append([(query, [d for group in order for d in group]) for order in orders])
    for choice in product(*per_query):
        yield {q: [(d, float(-rank)) for rank, d in enumerate(order)] for q, order in choice}


@pytest.mark.parametrize("seed", range(6))
def test_bounds_are_those_of_all_permutations(seed):
    rng = np.random.default_rng(seed)
    run = {
        query: [(f"d{d}", float(rng.integers(2))) for d in rng.permutation(7)[:4]] for query in "ab"
    }
    qrels = {
        query: {f"d{d}": int(rng.integers(-1, 4)) for d in rng.permutation(7)[:4]} for query in "ab"
    }
    audited = evaluate_run(run, qrels, measures=MEASURES, depth=4).measures
    means = [
        [m.mean for m in evaluate_run(order, qrels, measures=MEASURES, depth=4).measures.values()]
        for order in orders_of(run)
    ]
    assert [m.best for m in audited.values()] == pytest.approx(np.max(means, axis=0))
    assert [m.worst for m in audited.values()] == pytest.approx(np.min(means, axis=0))


def test_ties_of_one_query_leave_the_others_alone():
    run = {"a": [("d1", 2.0), ("d2", 1.0)], "b": [("d1", 1.0), ("d2", 1.0)]}
    qrels = {"a": {"d2": 1}, "b": {"d2": 1, "d1": 0}}
    measure = evaluate_run(run, qrels, measures=["RR"], depth=2).measures["RR"]
    assert (measure.worst, measure.mean, measure.best) == (0.5, 0.75, 0.75)
