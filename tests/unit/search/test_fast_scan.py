"""Search over codes against brute force over the vectors they stand for, and faiss's own layout."""

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rankstone.runners.search import fast_scan
from rankstone.runners.search.bit_planes import BitPlanes
from rankstone.runners.search.fast_scan import CodeIndex, laid_out, picked


def clustered(planes: BitPlanes, n: int, seed: int):
    """Codes of which some are near each other, some equal, and some of unusual length."""
    rng = np.random.default_rng(seed)
    centres = rng.integers(0, 2, (8, planes.levels, planes.dim)).astype(bool)
    bits = centres[rng.integers(0, 8, n)] ^ (rng.random((n, planes.levels, planes.dim)) < 0.15)
    bits[n // 3 : n // 2] = bits[: n // 2 - n // 3]
    bits[::7, 1:] = bits[::7, :1]  # the longest codes there are
    return planes.pack(bits)


def brute_force(planes: BitPlanes, queries, codes, k):
    """Cosines in float64; ties to the lower position."""
    q, d = (planes.decode(part).astype(np.float64) for part in (queries, codes))
    squares = (q**2).sum(axis=1)[:, None] * (d**2).sum(axis=1)
    cosines = (q @ d.T).astype(np.float32) / np.sqrt(squares.astype(np.float32))
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(cosines, order, axis=1)


@pytest.mark.parametrize(("dim", "levels"), [(384, 1), (384, 2), (37, 2), (30, 3), (20, 4), (8, 1)])
@pytest.mark.parametrize("k", [1, 10, 300])
@pytest.mark.parametrize("way", ["candidates", "all"])
def test_results_are_those_of_brute_force_with_their_ties(dim, levels, k, way, monkeypatch):
    monkeypatch.setattr(fast_scan, "CANDIDATE", 0.0 if way == "candidates" else 1.0)
    monkeypatch.setattr(fast_scan, "DECODED", 1000)
    planes = BitPlanes(dim, levels)
    codes, queries = clustered(planes, 3000, 0), clustered(planes, 9, 0)
    index = CodeIndex.build(planes, [codes[:1001], codes[1001:]])
    docs, scores = brute_force(planes, queries, codes, k)
    hits = index.search(queries, k)
    np.testing.assert_array_equal(hits.docs, docs)
    np.testing.assert_array_equal(hits.scores, scores)


@settings(max_examples=25, deadline=None)
@given(
    dim=st.integers(1, 60), levels=st.integers(1, 4), n=st.integers(1, 400),
    k=st.integers(1, 30), seed=st.integers(0, 1000),
)  # fmt: skip
def test_any_shape_is_searched_exactly(dim, levels, n, k, seed):
    planes = BitPlanes(dim, levels)
    codes, queries = clustered(planes, n, seed), clustered(planes, 3, seed + 1)
    docs, scores = brute_force(planes, queries, codes, k)
    hits = CodeIndex.build(planes, [codes]).search(queries, k)
    np.testing.assert_array_equal(hits.docs[:, :n], docs)
    np.testing.assert_array_equal(hits.scores[:, :n], scores)
    assert (hits.docs[:, n:] == -1).all()
    assert np.isneginf(hits.scores[:, n:]).all()


def test_a_bound_that_does_not_reach_asks_for_more_candidates(monkeypatch):
    """With one spare candidate and a scan aimed at the wrong cosine, the first round is not it."""
    planes = BitPlanes(64, 2)
    codes, queries = clustered(planes, 2000, 3), clustered(planes, 20, 4)
    monkeypatch.setattr(fast_scan, "SPARE", 1)
    monkeypatch.setattr(fast_scan, "TYPICAL", 0.1)
    monkeypatch.setattr(fast_scan, "CANDIDATE", 0.0)
    index = CodeIndex.build(planes, [codes])
    asked = []
    scan = index._scan
    monkeypatch.setattr(index, "_scan", lambda *a: asked.append(a[1]) or scan(*a))
    np.testing.assert_array_equal(
        index.search(queries, 5).docs, brute_force(planes, queries, codes, 5)[0]
    )
    assert asked[0] == 6
    assert len(asked) > 1


@pytest.mark.parametrize(("dim", "levels"), [(384, 2), (64, 1), (10, 4)])
def test_codes_lie_as_faiss_lays_them(dim, levels):
    planes = BitPlanes(dim, levels)
    codes = clustered(planes, 150, 1)
    n_tables = 2 * planes.n_bytes
    peer = faiss.IndexPQFastScan(planes.dim_stored, n_tables, 4, faiss.METRIC_L2, fast_scan.BLOCK)
    faiss.copy_array_to_vector(np.tile(planes.values, (n_tables, 1)).ravel(), peer.pq.centroids)
    peer.is_trained = True
    fours = np.stack([codes & 15, codes >> 4], axis=-1)
    peer.add(planes.values[fours].reshape(150, -1))
    laid = laid_out(codes)
    np.testing.assert_array_equal(faiss.vector_to_array(peer.codes), laid)
    positions = np.array([[149, 0], [64, 63]])
    np.testing.assert_array_equal(picked(laid, positions, planes.n_bytes), codes[positions])


def test_memory_is_that_of_the_codes_on_paper():
    planes = BitPlanes(384, 2)
    index = CodeIndex.build(planes, [clustered(planes, 6_400, 0)])
    on_paper = 6_400 * 384 * 2 / 8
    assert on_paper <= index.nbytes() <= on_paper * 1.05


def test_a_saved_index_is_the_same_and_an_empty_batch_finds_nothing(tmp_path):
    planes = BitPlanes(40, 2)
    codes = clustered(planes, 500, 0)
    index = CodeIndex.build(planes, [codes])
    index.save(tmp_path)
    loaded = CodeIndex.load(tmp_path)
    for one, other in zip(index.search(codes, 20), loaded.search(codes, 20), strict=True):
        np.testing.assert_array_equal(one, other)
    assert loaded.nbytes() == index.nbytes()
    assert index.search(codes[:0], 4).docs.shape == (0, 4)
    assert (CodeIndex.build(planes, []).search(codes[:2], 3).docs == -1).all()
