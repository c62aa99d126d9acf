"""BEIR's rules as declared, against BEIR's own evaluation on runs with ties, gaps and self hits."""

from __future__ import annotations

import copy
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rankstone.evaluation.conventions.comparison import compare
from rankstone.evaluation.conventions.rules import Rules
from rankstone.evaluation.conventions.tools import BEIR
from tests.runs import lines_of

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what its dependencies say while they are imported
    pytest.importorskip("beir.retrieval.evaluation", reason="needs the extra 'beir'")
    from beir.retrieval.evaluation import EvaluateRetrieval

CUTOFFS = [1, 3, 8]
KINDS = ("nDCG", "AP", "R", "P", "RR", "R_cap", "Success", "Judged")
CUSTOM = {"RR": "mrr", "R_cap": "recall_cap", "Success": "top_k_accuracy", "Judged": "hole"}
DOCUMENTS = [f"d{n}" for n in range(8)]
QUERIES = ["q1", "q2", "d3"]  # the last is also a document: a self hit

# At least one relevant document: BEIR divides by their number.
labels = st.dictionaries(st.sampled_from(DOCUMENTS), st.integers(0, 2), min_size=1).map(
    lambda given: {**given, "relevant": 1}
)
qrels_of = st.fixed_dictionaries(dict.fromkeys(QUERIES, labels))
scores = st.sampled_from([1.0, 2.0, 2.00000001, 3.0])  # two of them tie as float32
lists = st.dictionaries(st.sampled_from([*DOCUMENTS, "relevant"]), scores, min_size=1)
runs = st.dictionaries(st.sampled_from(QUERIES), lists, min_size=1)


def by_beir(run: dict[str, dict[str, float]], qrels: dict[str, dict[str, int]]) -> dict[str, float]:
    results = copy.deepcopy(run)  # it drops the self hits from what it is given
    found: dict[str, float] = {}
    for part in EvaluateRetrieval.evaluate(qrels, results, CUTOFFS):
        found |= part
    for metric in CUSTOM.values():
        found |= EvaluateRetrieval.evaluate_custom(qrels, results, CUTOFFS, metric)
    return {
        name.replace("Hole", "1 - Hole"): 1 - value if name.startswith("Hole") else value
        for name, value in found.items()
    }


@settings(max_examples=150, deadline=None)
@given(run=runs, qrels=qrels_of)
def test_values_by_the_rules_of_beir_are_those_of_beir(run, qrels) -> None:
    theirs = by_beir(run, qrels)
    measures = [f"{kind}@{cutoff}" for kind in KINDS for cutoff in CUTOFFS]
    lines = lines_of(run)
    found = compare(lines, qrels, measures=measures, depth=9, ours=Rules(), tool=BEIR)
    ours = {row.name: row for row in found}
    assert ours.keys() == theirs.keys()
    for name, row in ours.items():
        assert row.theirs == pytest.approx(theirs[name], abs=5.1e-6), (name, row)
        assert row.shown == pytest.approx(theirs[name], abs=1.1e-5), (name, row)
