"""Weighted fusion against plain Python, and tuning against ir-measures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.stats import zscore

from rankstone.errors import DefinitionError, RankstoneWarning
from rankstone.runners.compose.fusion_base import normalise, summed
from rankstone.runners.compose.weighted_fusion import (
    WeightedFusion,
    WeightedIndex,
    simplex,
)
from rankstone.runners.encoders.bm25 import BM25
from rankstone.runners.protocols import Hits
from rankstone.runners.testing import Pairs, PlainContext

NEVER = -np.inf


@st.composite
def columns(draw):
    """Draw (docs, gains) of a few queries, in which documents may repeat in every column."""
    shape = draw(st.integers(1, 3)), draw(st.integers(1, 9))
    cells = shape[0] * shape[1]
    docs = draw(st.lists(st.integers(-1, 6), min_size=cells, max_size=cells))
    gains = draw(st.lists(st.integers(-4, 4), min_size=cells, max_size=cells))
    return np.array(docs).reshape(shape), np.array(gains, dtype=np.float64).reshape(shape) / 2


@given(columns(), st.integers(1, 10))
def test_sums_are_those_of_plain_python(both, k):
    docs, gains = both
    hits = summed(docs, gains, k)
    for row in range(len(docs)):
        totals: dict[int, float] = {}
        for doc, gain in zip(docs[row].tolist(), gains[row].tolist(), strict=True):
            if doc >= 0:
                totals[doc] = totals.get(doc, 0.0) + gain
        best = sorted(totals, key=lambda doc: (-totals[doc], doc))[:k]
        pads = k - len(best)
        assert hits.docs[row].tolist() == best + [-1] * pads
        assert hits.scores[row].tolist() == [totals[doc] for doc in best] + [NEVER] * pads


def test_minmax_and_zscore_by_hand_and_by_scipy():
    scores = np.array([[9, 5, 1, NEVER], [3, 3, NEVER, NEVER], [NEVER] * 4], dtype=np.float32)
    np.testing.assert_allclose(
        normalise(scores, "minmax"), [[1, 0.5, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]]
    )
    given = zscore([9, 5, 1])
    np.testing.assert_allclose(normalise(scores, "zscore")[0], [*(given - given.min()), 0])
    np.testing.assert_array_equal(normalise(scores, "zscore")[1:], [[1, 1, 0, 0], [0, 0, 0, 0]])


@given(
    st.lists(st.integers(-50, 50), min_size=2, max_size=8, unique=True),
    st.integers(1, 9), st.integers(-9, 9),
)  # fmt: skip
def test_scale_and_offset_of_a_member_do_not_matter(values, scale, offset):
    scores = np.sort(np.array([values], dtype=np.float32))[:, ::-1]
    for how in ("minmax", "zscore"):
        np.testing.assert_allclose(
            normalise(scores, how), normalise(scores * scale + offset, how), atol=1e-6
        )


class Fixed:
    """Runner with given documents and scores for all queries; representations are row numbers."""

    def __init__(self, docs, scores):
        self.docs, self.scores = np.array(docs), np.array(scores, dtype=np.float32)

    def search(self, queries, k):
        rows = np.asarray(queries, dtype=np.int64).ravel()
        return Hits(self.docs[rows][:, :k], self.scores[rows][:, :k])


def test_the_weighted_sum_is_that_computed_by_hand():
    from rankstone.runners.representations.base import Composite

    first = Fixed([[0, 1, 2]], [[10, 6, 2]])
    second = Fixed([[2, 3, -1]], [[0.9, 0.1, NEVER]])
    index = WeightedIndex((first, second), weights=[0.75, 0.25], normalisation="minmax", depth=1000)
    hits = index.search(Composite((np.array([0]), np.array([0]))), 5)
    # 0: .75 * 1; 1: .75 * .5; 2: .75 * 0 + .25 * 1; 3: .25 * 0
    assert hits.docs[0].tolist() == [0, 1, 2, 3, -1]
    np.testing.assert_allclose(hits.scores[0], [0.75, 0.375, 0.25, 0, NEVER])


def test_the_grid_is_the_simplex():
    found = list(simplex(3, 10))
    assert len(found) == 66 == len(set(map(tuple, found)))
    assert all(sum(weights) == pytest.approx(1) for weights in found)
    assert list(simplex(1, 4)) == [[1.0]]


TEXTS = ["alpha alpha", "beta", "gamma alpha", "beta beta gamma", "delta"]


def judged(*pairs):
    query, document = np.array(pairs).T
    return Pairs(query=query, document=document)


def tuned(tmp_path, **more):
    # The second member sees nothing of a document but whether it has the word.
    members = (BM25(), BM25(k1=0.0, b=0.0))
    runner = WeightedFusion(members=members, normalisation="minmax", weights="tuned", step=0.25)
    context = PlainContext(texts=TEXTS, work=tmp_path, **more)
    return runner.index(context.encoded(runner), context), context


def test_tuning_takes_the_best_weights_of_the_grid(tmp_path):
    """Compare with brute force over the grid, with ir_measures' nDCG@10."""
    import ir_measures

    queries = ["alpha gamma", "beta gamma", "alpha beta"]
    pairs = [(0, 2), (1, 3), (2, 1), (2, 2)]
    index, context = tuned(tmp_path, train_queries=queries, train_judgements=judged(*pairs))
    qrels = {str(q): {} for q in range(3)}
    for query, document in pairs:
        qrels[str(query)][str(document)] = 1
    values = {}
    reps = WeightedFusion(
        members=(BM25(), BM25(k1=0.0, b=0.0)), normalisation="minmax", weights="tuned"
    ).encode(queries, "query")
    for weights in simplex(2, 4):
        hits = replace(index, weights=tuple(weights)).search(reps, 10)
        run = {
            str(row): {str(doc): -place for place, doc in enumerate(docs) if doc >= 0}
            for row, docs in enumerate(hits.docs.tolist())
        }
        measure = ir_measures.parse_measure("nDCG@10")
        values[tuple(weights)] = ir_measures.calc_aggregate([measure], qrels, run)[measure]
    best = max(values.values())
    assert values[tuple(index.weights)] == best > min(values.values())
    assert "train" in context.phases


def test_without_training_queries_members_have_equal_weights(tmp_path):
    with pytest.warns(RankstoneWarning, match="no training queries"):
        index, _ = tuned(tmp_path)
    assert list(index.weights) == [0.5, 0.5]


@pytest.mark.parametrize("weights", [[1.0], [1.0, -0.1], [0.0, 0.0], [float("nan"), 1.0]])
def test_weights_that_make_no_sense_are_refused(weights):
    with pytest.raises((DefinitionError, ValidationError), match="weights"):
        WeightedFusion(members=(BM25(), BM25()), normalisation="minmax", weights=weights)


def test_a_saved_index_keeps_its_weights(tmp_path):
    index, _ = tuned(
        tmp_path, train_queries=["alpha gamma"], train_judgements=judged((0, 2))
    )  # fmt: skip
    folder = tmp_path / "saved"
    folder.mkdir()
    index.save(folder)
    assert WeightedIndex.load(folder).weights == index.weights
