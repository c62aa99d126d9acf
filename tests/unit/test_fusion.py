"""Reciprocal rank fusion against the formula in plain Python."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankstone.errors import AdapterError
from rankstone.predicates import Where, parse
from rankstone.runners.compose.fusion import ReciprocalRankFusion, fuse
from rankstone.runners.compose.two_stage import TwoStage
from rankstone.runners.compose.weighted_fusion import WeightedFusion
from rankstone.runners.encoders.bm25 import BM25
from rankstone.runners.protocols import Defaults, Hits
from rankstone.runners.search.filtered import FilteredSearch
from rankstone.runners.testing import PlainContext


def naive(rankings, rank_constant, k):
    scores = {}
    for ranking in rankings:
        for rank, doc in enumerate(ranking, start=1):
            if doc >= 0:
                scores[doc] = scores.get(doc, 0.0) + 1 / (rank_constant + rank)
    best = sorted(scores, key=lambda doc: (-scores[doc], doc))[:k]
    return best, [scores[doc] for doc in best]


@st.composite
def rankings(draw):
    n_queries = draw(st.integers(1, 4))
    members = []
    for _ in range(draw(st.integers(1, 3))):
        depth = draw(st.integers(1, 6))
        rows = draw(
            st.lists(
                st.lists(st.integers(0, 9), max_size=depth, unique=True),
                min_size=n_queries,
                max_size=n_queries,
            )
        )
        members.append(np.array([row + [-1] * (depth - len(row)) for row in rows], dtype=np.int64))
    return members


@given(rankings(), st.integers(0, 80), st.integers(1, 12))
def test_fusion_is_the_formula(members, rank_constant, k):
    hits = fuse(members, rank_constant=rank_constant, k=k)
    for query in range(len(members[0])):
        docs, scores = naive([member[query].tolist() for member in members], rank_constant, k)
        pads = k - len(docs)
        assert hits.docs[query].tolist() == docs + [-1] * pads
        np.testing.assert_allclose(hits.scores[query], scores + [-np.inf] * pads, rtol=1e-6)


def test_depth_limits_what_members_contribute(tmp_path):
    texts = ["cat", "cat cat dog", "dog"]
    runner = ReciprocalRankFusion(members=(BM25(), BM25(k1=2.0)), depth=1)
    index = runner.index(None, PlainContext(texts=texts, work=tmp_path))
    hits = index.search(runner.encode(["cat"], "query"), 3)
    assert (hits.docs >= 0).sum() <= 2


class Foreign(Defaults):
    """A method of another package that finds the same documents for every query."""

    def __init__(self, docs: list[int], scores: list[float]) -> None:
        self.found = docs, scores

    def describe(self) -> dict[str, Any]:
        return {}

    def encode(self, texts: list[str], role: str) -> list[str]:
        return list(texts)

    def index(self, documents: Any, context: Any) -> Any:
        return self

    def search(self, queries: list[str], k: int) -> Hits:
        hits = Hits.empty(len(queries), k)
        for array, row in zip(hits, self.found, strict=True):
            array[:, : len(row)] = row[:k]
        return hits

    def score(self, query: str, documents: list[str]) -> np.ndarray:
        return np.zeros(len(documents), dtype=np.float32)

    def truncation(self, texts: Any, role: Any) -> None:
        return None


TEXTS = ["cat"] * 6
FIRST = Foreign([0, 1, 2], [3, 2, 1])


def found(member: Foreign, tmp_path: Any) -> list[Hits]:
    """Return the hits of every composite of the member."""
    context: Any = PlainContext(texts=TEXTS, work=tmp_path)
    weighted = {"normalisation": "minmax", "weights": [0.5, 0.5]}
    scorer: Any = FIRST
    runners = [
        ReciprocalRankFusion(members=(FIRST, member)),
        WeightedFusion(members=(FIRST, member), **weighted),
        TwoStage(members=(member,), scorer=scorer, depth=2),
    ]
    return [
        runner.index(None, context).search(runner.encode(["q"], "query"), 5) for runner in runners
    ]


@pytest.mark.parametrize(
    ("member", "fault"),
    [
        (Foreign([3, 4, 0], [np.nan, 2, 1]), "Foreign: .* the score is NaN"),
        (Foreign([3, 3, 0], [3, 2, 1]), "Foreign: .* document 3 is in the row twice"),
        (Foreign([3, 9, 0], [3, 2, 1]), "Foreign: .* out of range"),
    ],
)
def test_a_members_invalid_hits_are_refused_as_those_of_a_method(member, fault, tmp_path):
    """Reciprocal ranks of NaN, and of a document that is found twice, are numbers."""
    with pytest.raises(AdapterError, match=fault):
        found(member, tmp_path)


def test_a_members_hits_may_be_in_any_order_as_those_of_a_method(tmp_path):
    in_order = found(Foreign([3, 4, 0], [3, 2, 1]), tmp_path)
    shuffled = found(Foreign([0, 3, 4], [1, 3, 2]), tmp_path)
    for one, other in zip(in_order, shuffled, strict=True):
        assert [array.tolist() for array in one] == [array.tolist() for array in other]
    where = Where(predicate=parse("x"), passes=np.arange(6) < 4)
    index: Any = Foreign([0, 2, 3, 1], [1, 2, 4, 3])
    assert FilteredSearch(index, [where]).search(["q"], [0], 3).docs.tolist() == [[3, 1, 2]]
