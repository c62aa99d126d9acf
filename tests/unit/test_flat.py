"""Exact search against numpy and faiss."""

from __future__ import annotations

import faiss
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankstone.errors import AdapterError
from rankstone.runners import flat
from rankstone.runners.flat import ExactIndex, Mapped
from rankstone.runners.topk import RunningTop


def random(n, dim=16, seed=0):
    return np.random.default_rng(seed).standard_normal((n, dim), dtype=np.float32)


def brute(scores, k):
    """Score descending, then position ascending."""
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


@pytest.mark.parametrize("blocks", [1, 3, 50])
@pytest.mark.parametrize("k", [1, 10, 700])
def test_the_documents_are_those_of_faiss(blocks, k):
    documents, queries = random(1000), random(20, seed=1)
    peer = faiss.IndexFlatIP(16)
    peer.add(documents)
    scores, docs = peer.search(queries, k)
    hits = ExactIndex.build(Blocks(documents, blocks)).search(queries, k)
    assert (hits.docs == docs).mean() > 0.999
    np.testing.assert_allclose(hits.scores, scores, atol=1e-5)


class Blocks:
    """An array cut in `count` blocks."""

    def __init__(self, array, count):
        self._array, self._count = array, count

    def __len__(self):
        return len(self._array)

    def __iter__(self):
        yield from np.array_split(self._array, self._count)


@given(
    st.lists(st.lists(st.integers(-2, 2), min_size=3, max_size=3), min_size=1, max_size=30),
    st.integers(1, 40),
    st.integers(1, 7),
)
def test_ties_go_to_the_lower_position_however_blocks_fall(rows, k, width):
    scores = np.array(rows, dtype=np.float32).T.copy()
    k = min(k, scores.shape[1])
    top = RunningTop(len(scores), k, scores.shape[1])
    for start in range(0, scores.shape[1], width):
        top.add(np.ascontiguousarray(scores[:, start : start + width]), start)
    hits = top.best()
    np.testing.assert_array_equal(hits.docs, brute(scores, k))
    np.testing.assert_array_equal(hits.scores, np.take_along_axis(scores, brute(scores, k), 1))


def test_k_beyond_the_corpus_is_padded():
    hits = ExactIndex.build([random(3)]).search(random(2, seed=1), 5)
    assert (hits.docs[:, 3:] == -1).all()
    assert np.isneginf(hits.scores[:, 3:]).all()
    assert (np.sort(hits.docs[:, :3]) == [0, 1, 2]).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(bad):
    documents = random(20)
    documents[7, 3] = bad
    with pytest.raises(AdapterError, match="position 7"):
        ExactIndex.build(Blocks(documents, 4))
    with pytest.raises(AdapterError, match="query"):
        ExactIndex.build([random(5)]).search(documents, 2)


def test_dimensions_must_agree():
    with pytest.raises(AdapterError, match="position 5"):
        ExactIndex.build([random(5), random(5, dim=8)])
    with pytest.raises(AdapterError, match=r"\(n, 16\)"):
        ExactIndex.build([random(5)]).search(random(1, dim=8), 2)


def test_a_mapped_collection_gives_the_same_results(tmp_path, monkeypatch):
    documents, queries = random(500), random(30, seed=1)
    resident = ExactIndex.build([documents])
    resident.save(tmp_path)
    monkeypatch.setattr(flat, "RESIDENT_BYTES", 1000)
    mapped = ExactIndex.build(Mapped(tmp_path / "vectors.f32", 500, 16, block_rows=64))
    assert mapped.nbytes() == 64 * 16 * 4 < resident.nbytes() == documents.nbytes
    loaded = ExactIndex.load(tmp_path)
    for index in (mapped, loaded):
        np.testing.assert_array_equal(
            index.search(queries, 40).docs, resident.search(queries, 40).docs
        )


def test_many_queries_are_searched_in_parts(monkeypatch):
    documents, queries = random(200), random(50, seed=1)
    whole = ExactIndex.build([documents]).search(queries, 10)
    monkeypatch.setattr(flat, "QUERIES", 7)
    monkeypatch.setattr(flat, "SCORES", 90)
    np.testing.assert_array_equal(
        ExactIndex.build([documents]).search(queries, 10).docs, whole.docs
    )
