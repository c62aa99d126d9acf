"""A number of another tool, given as published: its cause is named first.

The numbers are those of the tools themselves (pytrec_eval, ir_measures, BEIR,
sentence-transformers), on runs with ties, gaps, grades, self hits and unjudged documents.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping
from types import SimpleNamespace

import ir_measures
import numpy as np
import pytest
import pytrec_eval

from rankstone.evaluation import measure_names as names
from rankstone.evaluation.conventions.causes import STORED, Setting, causes_of_rules
from rankstone.evaluation.conventions.comparison import compare
from rankstone.evaluation.conventions.rules import Rules
from rankstone.evaluation.conventions.tools import SENTENCE_TRANSFORMERS
from rankstone.evaluation.explanation import Bench, Explanation, Published, chance, search
from tests.runs import lines_of

Scored = dict[str, dict[str, float]]
Judged = dict[str, dict[str, int]]
QUERIES = [f"q{n}" for n in range(14)]
DOCUMENTS = [f"d{n:02}" for n in range(40)]
SELF = "d07"
"""A query that is also a document."""
SEEDS = range(4)
DEPTH = 26
"""Of the longest list, which holds a self hit more."""


def collection(seed: int) -> tuple[Scored, Judged]:
    """A run of 25 results per query with ties; one query has none, and one no relevant document."""
    rng = np.random.default_rng(seed)
    run: Scored = {}
    for query in [*QUERIES, SELF]:
        found = rng.permutation(DOCUMENTS)[:25].tolist()
        run[query] = dict(zip(found, rng.integers(1, 12, 25).astype(float).tolist(), strict=True))
    run[SELF][SELF] = 20.0
    qrels = {
        query: {d: int(rng.integers(0, 4)) for d in rng.permutation(DOCUMENTS)[:18].tolist()}
        for query in run
    }
    qrels[QUERIES[0]] = dict.fromkeys(qrels[QUERIES[0]], 0)
    del run[QUERIES[1]]
    return run, qrels


def explained(
    run: Scored, qrels: Judged, measure: str, value: float, rules: Rules, decimals: int = 12
) -> Explanation:
    base = Setting(measure=names.parse(measure), rules=rules)
    bench = Bench({STORED: lines_of(run)}, {STORED: qrels}, depth=DEPTH)
    published = Published(value=value, tolerance=0.5 * 10.0**-decimals, decimals=decimals)
    causes = causes_of_rules(base, labels=range(4), depth=DEPTH, dataset="tiny/letters")
    return search(bench, base, causes, published, method="m", task="t", measure=measure)


def by_trec(run: Scored, qrels: Judged, name: str, level: int = 1) -> dict[str, float]:
    values = pytrec_eval.RelevanceEvaluator(qrels, {name}, relevance_level=level).evaluate(run)
    return {query: row[name] for query, row in values.items()}


def trec(name: str, level: int = 1) -> Callable[[Scored, Judged], float]:
    return lambda run, qrels: float(np.mean(list(by_trec(run, qrels, name, level).values())))


def over_all(name: str, level: int = 1, depth: int = DEPTH) -> Callable[[Scored, Judged], float]:
    """trec_eval's option -c: a query without results scores 0."""

    def value(run: Scored, qrels: Judged) -> float:
        # With its order, ties included: score, then id, both descending.
        ordered = {q: sorted(r, key=lambda d: (r[d], d), reverse=True) for q, r in run.items()}
        short = {q: {d: run[q][d] for d in best[:depth]} for q, best in ordered.items()}
        return sum(by_trec(short, qrels, name, level).values()) / len(qrels)

    return value


def only_answerable(run: Scored, qrels: Judged) -> float:
    able = [q for q, row in qrels.items() if max(row.values()) > 0]
    return sum(by_trec(run, qrels, "map").get(q, 0.0) for q in able) / len(able)


def irm(name: str) -> Callable[[Scored, Judged], float]:
    measure = ir_measures.parse_measure(name)
    return lambda run, qrels: float(ir_measures.calc_aggregate([measure], qrels, run)[measure])


def beir(name: str) -> Callable[[Scored, Judged], float]:
    def value(run: Scored, qrels: Judged) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from beir.retrieval.evaluation import EvaluateRetrieval
        results = copy.deepcopy(run)
        found: dict[str, float] = {}
        for part in EvaluateRetrieval.evaluate(qrels, results, [5, 10]):
            found |= part
        return (found | EvaluateRetrieval.evaluate_custom(qrels, results, [10], "mrr"))[name]

    return value


def sentence_transformers(name: str) -> Callable[[Scored, Judged], float]:
    def value(run: Scored, qrels: Judged) -> float:
        module = pytest.importorskip("sentence_transformers.sentence_transformer.evaluation")
        relevant = {q: {d for d, n in row.items() if n >= 1} for q, row in qrels.items()}
        able = [query for query, documents in relevant.items() if documents]
        cutoffs = {f"{kind}_at_k": [10] for kind in KINDS}
        kind = module.InformationRetrievalEvaluator
        given = SimpleNamespace(
            **cutoffs, queries_ids=able, queries=able, relevant_docs=relevant,
            compute_dcg_at_k=kind.compute_dcg_at_k,
        )  # fmt: skip
        hits = [
            [{"corpus_id": d, "score": s} for d, s in run.get(query, {}).items()] for query in able
        ]
        return float(kind.compute_metrics(given, hits)[name][10])

    return value


def of_retrieved(run: Scored, qrels: Judged) -> float:
    """trec_eval is shown judgements of retrieved documents alone: the ideal ranking holds these."""
    seen = {q: {d: n for d, n in qrels[q].items() if d in run[q]} for q in run}
    return sum(by_trec(run, seen, "ndcg_cut_10").values()) / len(qrels)


def binary(run: Scored, qrels: Judged) -> float:
    """trec_eval is shown labels of 0 and 1."""
    return over_all("ndcg_cut_10")(run, {q: {d: min(n, 1) for d, n in row.items()}
                                         for q, row in qrels.items()})  # fmt: skip


KINDS = ("accuracy", "precision_recall", "mrr", "ndcg", "map")
EXPONENTIAL = "nDCG(gains={0:0,1:1,2:3,3:7})@10"
CASES: Mapping[str, tuple[str, Callable[[Scored, Judged], float], int, str]] = {
    # our measure, the foreign number, our threshold, the cause
    "trec_eval without -l": ("RR", trec("recip_rank"), 2, "trec_eval's rules, recip_rank"),
    "trec_eval with -l": ("P@10", trec("P_10", 2), 2, "threshold, P_10"),
    "-l alone": ("AP", over_all("map", 1), 2, "relevant from label 1 on"),
    "missing queries": ("AP", trec("map"), 1, "queries without results: skip"),
    "nothing relevant": ("AP", only_answerable, 1, "queries without a relevant document: skip"),
    "cutoff": ("nDCG@10", over_all("ndcg_cut_5"), 1, "cutoff 5"),
    "no cutoff": ("AP@10", over_all("map"), 1, "no cutoff"),
    "depth": ("AP", over_all("map", depth=10), 1, "a run of 10 results per query"),
    "exponential gains": ("nDCG@10", irm(EXPONENTIAL), 1, "nDCG_exp@10 under its name"),
    "unjudged": ("nDCG@10", irm("nDCG(judged_only=True)@10"), 1, "unjudged documents left out"),
    "success": ("R@10", irm("Success@10"), 1, "Success@10 under its name"),
    "ties of ir_measures": ("RR@10", irm("RR@10"), 1, "ir_measures's rules, RR@10"),
    "ideal of the retrieved": ("nDCG@10", of_retrieved, 1, "divided by the retrieved relevant"),
    "binary gains": ("nDCG@10", binary, 1, "gain 1 for labels from 1 on"),
    "BEIR": ("nDCG@10", beir("NDCG@10"), 1, "beir's rules, NDCG@10"),
    "BEIR's own": ("RR@10", beir("MRR@10"), 1, "beir's rules, MRR@10"),
}
TORCH: Mapping[str, tuple[str, Callable[[Scored, Judged], float], int, str]] = {
    "their nDCG": (
        "nDCG@10", sentence_transformers("ndcg@k"), 1, "sentence_transformers's rules, ndcg@10"
    ),
    "capped AP": (
        "AP@10", sentence_transformers("map@k"), 1, "sentence_transformers's rules, map@10"
    ),
}  # fmt: skip


SLOW = [pytest.param(case, marks=pytest.mark.slow) for case in TORCH]
"""Those that import torch."""


@pytest.mark.parametrize("case", [*CASES, *SLOW])
def test_the_cause_of_a_foreign_number_is_named_first(case: str) -> None:
    measure, foreign, relevance, cause = {**CASES, **TORCH}[case]
    decimals = 5 if case.startswith("BEIR") else 10  # it rounds
    moved = 0
    for seed in SEEDS:
        run, qrels = collection(seed)
        value = foreign(run, qrels)
        found = explained(run, qrels, measure, value, Rules(relevance=relevance), decimals)
        if found.verdict == "no gap":
            assert any(cause in name for name in found.unmoved)
            continue
        moved += 1
        assert found.verdict == "closes the gap", found
        first = found.singles[0]
        assert first.matches
        assert any(cause in name for name in first.causes), first
        assert found.chance < 0.05
    assert moved >= len(SEEDS) - 1


def test_capped_recall_under_the_name_of_recall() -> None:
    """BEIR's recall_cap, on distinct scores and without self hits, which it drops."""
    run, qrels = collection(6)
    ranked = {q: {d: s + n / 100 for n, (d, s) in enumerate(row.items())} for q, row in run.items()}
    del ranked[SELF][SELF], ranked[QUERIES[0]]
    judged = {query: qrels[query] for query in ranked}
    from beir.retrieval.evaluation import EvaluateRetrieval

    [value] = EvaluateRetrieval.evaluate_custom(judged, ranked, [5], "recall_cap").values()
    found = explained(ranked, judged, "R@5", value, Rules(), 5)
    assert found.singles[0].matches
    assert "divided by the relevant documents, at most the cutoff" in found.singles[0].causes


@pytest.mark.slow
def test_every_number_of_sentence_transformers_is_explained_by_its_rules() -> None:
    forms = {"nDCG": "ndcg", "AP": "map", "RR": "mrr", "R": "recall", "P": "precision"}
    run, qrels = collection(0)
    measures = [f"{kind}@10" for kind in (*forms, "Success")]
    rows = compare(
        lines_of(run), qrels, measures=measures, depth=DEPTH, ours=Rules(),
        tool=SENTENCE_TRANSFORMERS,
    )  # fmt: skip
    assert [row.measure for row in rows] == measures
    for row in rows:
        key = row.name.replace("@10", "@k")
        assert row.theirs == pytest.approx(sentence_transformers(key)(run, qrels)), row


def test_two_causes_at_once_are_named_as_a_pair() -> None:
    run, qrels = collection(1)
    value = beir("NDCG@5")(run, qrels)
    found = explained(run, qrels, "nDCG@10", value, Rules(), 5)
    assert found.verdict == "a pair closes the gap"
    assert "beir's rules, NDCG@10 + cutoff 5" in found.pairs[0].causes
    assert found.n_pairs > len(found.pairs)


def test_a_number_of_another_run_is_not_explained() -> None:
    """With all decimals nothing matches it; with one, it is said how easily something would."""
    (run, qrels), (other, _) = collection(2), collection(3)
    value = trec("ndcg_cut_10")(other, qrels)
    exact = explained(run, qrels, "nDCG@10", value, Rules())
    assert exact.verdict in ("none of the tried causes", "closes part of the gap")
    assert not any(one.matches for one in (*exact.singles, *exact.pairs))
    coarse = explained(run, qrels, "nDCG@10", round(value, 1), Rules(), 1)
    assert coarse.verdict == "no gap" or coarse.chance > 0.05


@pytest.mark.parametrize("within", [0.0005, 0.01, 0.04])
def test_the_probability_of_a_chance_match_is_its_frequency(within: float) -> None:
    rng = np.random.default_rng(7)
    values, ours, published = rng.uniform(0.3, 0.7, 12), 0.5, 0.58
    drawn = rng.uniform(ours - 0.08, ours + 0.08, 200_000)
    drawn = drawn[np.abs(drawn - ours) > within]
    hit = (np.abs(drawn[:, None] - values) <= within).any(axis=1).mean()
    assert chance(values.tolist(), ours, published, within) == pytest.approx(hit, abs=0.005)


def test_a_mean_estimated_on_every_query_is_the_mean() -> None:
    (run, qrels), (other, _) = collection(4), collection(5)
    lines, base = lines_of(run), Setting(measure=names.parse("AP"), rules=Rules())
    runs, judged = {STORED: lines, "other": lines_of(other)}, {STORED: qrels, "some": qrels}
    sampled = Bench(runs, judged, depth=DEPTH, sample={"other": "some"})
    value = sampled.value(base.changed({"run": "other"}))
    assert value == pytest.approx(over_all("map")(other, qrels))
