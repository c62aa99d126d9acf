"""Reciprocal rank fusion against the formula in plain Python."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rankstone.runners.compose.fusion import ReciprocalRankFusion, fuse
from rankstone.runners.encoders.bm25 import BM25
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
