"""Evaluation of an opened data set, and of runs by ids."""

from __future__ import annotations

import numpy as np
import pytest

from rankstone.benchmarks.dataset import Dataset, Judgements
from rankstone.errors import AdapterError, MeasureError
from rankstone.evaluation.evaluate import evaluate, evaluate_run, qrels_of
from rankstone.runners.protocols import Hits
from rankstone.specs import TaskSpec

INF = float("inf")
IDS = ["d0", "d1", "q1", "d3", "d4"]
MEASURES = ["nDCG@2", "RR", "AP", "R@2"]


class Corpus:
    def __len__(self):
        return len(IDS)

    def ids(self, positions):
        return [IDS[position] for position in positions.tolist()]


def dataset(**task) -> Dataset:
    """Three queries; q1 has a judged document outside the corpus; q1 is also a document."""
    spec = {"name": "t/t", "description": "", "loader": "m:f", "dataset": "t/t", "depth": 3, **task}
    return Dataset(
        task=TaskSpec(**spec),
        corpus=Corpus(),
        query_ids=["q0", "q1", "q2"],
        query_texts=["", "", ""],
        judgements=Judgements(
            query=np.array([0, 1, 1, 2]),
            document=np.array([4, -1, 3, 0]),
            label=np.array([1, 2, 1, 1], dtype=np.int32),
        ),
        train_queries=[],
        sha256={},
        source="inline",
        self_positions=np.array([-1, 2, -1]),
        n_unknown_documents=1,
        n_unjudged_queries=0,
    )


def hits(docs, scores) -> Hits:
    return Hits(np.array(docs, dtype=np.int64), np.array(scores, dtype=np.float32))


HITS = hits([[0, 4, 1], [2, 3, 0], [-1, -1, -1]], [[3, 3, 1], [3, 2, 1], [-INF, -INF, -INF]])


def test_a_data_set_is_scored_at_its_depth():
    evaluation = evaluate(HITS, dataset(), measures=MEASURES)
    assert evaluation.ranking.docs.tolist() == [[4, 0, 1], [2, 3, 0], [-1, -1, -1]]
    assert evaluation.per_query["RR"].tolist() == [1, 0.5, 0]
    assert evaluation.per_query["AP"].tolist() == [1, 0.25, 0], "an unknown document is relevant"
    assert evaluation.measures["RR"].worst == pytest.approx((0.5 + 0.5 + 0) / 3)
    assert evaluation.queries.model_dump() == {"n": 3, "n_missing": 1, "n_tied": 1}
    assert list(evaluation.query_ids) == ["q0", "q1", "q2"]


def test_a_task_that_drops_self_hits_needs_one_result_more():
    with pytest.raises(AdapterError, match=r"bm25: docs must be int64 of shape \(3, 4\)"):
        evaluate(HITS, dataset(self_hits="drop"), measures=MEASURES, method="bm25")
    evaluation = evaluate(HITS, dataset(self_hits="drop", depth=2), measures=MEASURES)
    assert evaluation.ranking.docs.tolist() == [[4, 0], [3, 0], [-1, -1]]
    assert evaluation.per_query["RR"].tolist() == [1, 1, 0]


def test_a_run_of_the_whole_corpus_may_be_narrower_than_the_depth():
    docs = np.tile(np.arange(5), (3, 1))
    evaluation = evaluate(
        Hits(docs, -docs.astype(np.float32)),
        dataset(depth=1000, self_hits="drop"),
        measures=["R@1000"],
    )
    assert evaluation.per_query["R@1000"].tolist() == [1, 0.5, 1]


def test_one_value_outside_the_unit_interval_has_no_interval():
    run = {"q": [("a", 2.0), ("b", 1.0)]}
    scored = evaluate_run(run, {"q": {"a": 1}}, measures=["NumRet", "RR"], depth=2).measures
    assert (scored["NumRet"].mean, scored["NumRet"].low, scored["NumRet"].high) == (2, None, None)
    assert scored["RR"].low is not None


def test_measures_are_refused_before_anything_is_computed():
    with pytest.raises(MeasureError, match="needs 10 results"):
        evaluate(HITS, dataset(), measures=["nDCG@10"])
    with pytest.raises(MeasureError, match="Did you mean: nDCG"):
        evaluate(HITS, dataset(), measures=["nDGC@2"])


@pytest.mark.parametrize("self_hits", ["keep", "drop"])
def test_a_stored_run_gives_the_same_numbers(self_hits):
    task = dataset(self_hits=self_hits, depth=2)
    first = evaluate(HITS, task, measures=MEASURES)
    stored = {
        query: [(IDS[d], float(s)) for d, s in zip(docs, scores, strict=True) if d >= 0]
        for query, docs, scores in zip(
            task.query_ids, first.ranking.docs, first.ranking.scores, strict=True
        )
    }
    again = evaluate_run(stored, qrels_of(task), measures=MEASURES, depth=2)
    assert again.measures == first.measures
    assert again.queries == first.queries
    assert all((again.per_query[m] == first.per_query[m]).all() for m in MEASURES)
