"""Search over codes against brute force over the vectors that they represent."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rankstone.runners.search.binary import code_index
from rankstone.runners.search.binary.bit_planes import BitPlanes
from rankstone.runners.search.binary.code_index import CodeIndex


def clustered(planes: BitPlanes, n: int, seed: int):
    """Return codes: some near each other, some equal, and some of extreme norm."""
    rng = np.random.default_rng(seed)
    centres = rng.integers(0, 2, (8, planes.levels, planes.dim)).astype(bool)
    bits = centres[rng.integers(0, 8, n)] ^ (rng.random((n, planes.levels, planes.dim)) < 0.15)
    bits[n // 3 : n // 2] = bits[: n // 2 - n // 3]
    bits[::7, 1:] = bits[::7, :1]  # the longest codes there are
    bits[5::7, 1:] = ~bits[5::7, :1]  # and the shortest
    return planes.pack(bits)


def brute_force(planes: BitPlanes, queries, codes, k):
    """Cosines in float64; ties to the lower position."""
    q, d = (planes.decode(part).astype(np.float64) for part in (queries, codes))
    squares = (q**2).sum(axis=1)[:, None].astype(np.float32) * (d**2).sum(axis=1, dtype=np.float32)
    cosines = (q @ d.T).astype(np.float32) / np.sqrt(squares)
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(cosines, order, axis=1)


def assert_exact(planes: BitPlanes, codes, queries, k, index=None):
    n = len(codes)
    docs, scores = brute_force(planes, queries, codes, k)
    hits = (index or CodeIndex.build(planes, [codes])).search(queries, k)
    np.testing.assert_array_equal(hits.docs[:, :n], docs)
    np.testing.assert_array_equal(hits.scores[:, :n], scores)
    assert (hits.docs[:, n:] == -1).all()
    assert np.isneginf(hits.scores[:, n:]).all()


SHAPES = [(8, 1), (65, 2), (130, 3), (60, 4)]
"""Each shape is compiled, which takes a second: more are marked slow."""
SLOW = [(384, 1), (1, 1), (384, 2), (64, 2), (37, 2), (30, 3), (400, 3), (20, 4), (300, 4)]


@pytest.mark.parametrize(
    ("dim", "levels"),
    [*SHAPES, (1200, 2), *(pytest.param(*shape, marks=pytest.mark.slow) for shape in SLOW)],
)
def test_results_are_those_of_brute_force_with_their_ties(dim, levels):
    """With 8 dimensions and one bit there are 256 codes, so that nearly all documents are tied."""
    planes = BitPlanes(dim, levels)
    codes, queries = clustered(planes, 2000, 0), clustered(planes, 9, 0)
    index = CodeIndex.build(planes, [codes[:1001], codes[:0], codes[1001:]])
    for k in (1, 10, 1000, 2001):
        assert_exact(planes, codes, queries, k, index)


@settings(deadline=None)
@given(
    shape=st.sampled_from(SHAPES), n=st.integers(1, 400), k=st.integers(1, 450),
    seed=st.integers(0, 1000),
)  # fmt: skip
def test_any_number_is_searched_exactly(shape, n, k, seed):
    planes = BitPlanes(*shape)
    assert_exact(planes, clustered(planes, n, seed), clustered(planes, 3, seed + 1), k)


@pytest.mark.parametrize("nearest_last", [True, False])
@pytest.mark.parametrize("opposite", [True, False])
def test_the_order_of_documents_makes_no_difference(nearest_last, opposite):
    """Every document replaces one of the best so far, or none does; cosines have either sign."""
    planes = BitPlanes(65, 2)
    bits = np.random.default_rng(0).random((1, 2, 65)) < 0.5
    flipped = (
        np.random.default_rng(1).random((700, 2, 65)) < np.linspace(0, 0.4, 700)[:, None, None]
    )
    codes = planes.pack(bits ^ (flipped[::-1] if nearest_last else flipped))
    queries = planes.pack(~bits if opposite else bits)
    for k in (1, 20, 699):
        assert_exact(planes, codes, queries, k)
    assert (brute_force(planes, queries, codes, 700)[1][:, 300] < 0) == opposite


def test_queries_beyond_a_tile_are_shared_among_threads(monkeypatch):
    monkeypatch.setattr(code_index, "TILE", 4)
    planes = BitPlanes(65, 2)
    codes, queries = clustered(planes, 500, 0), clustered(planes, 23, 1)
    index = CodeIndex.build(planes, [codes], threads=3)
    assert_exact(planes, codes, queries, 10, index)


@pytest.mark.parametrize(("dim", "levels"), [(384, 2), (384, 1), (128, 3), (64, 4)])
def test_memory_is_that_of_the_codes_on_paper(dim, levels):
    planes = BitPlanes(dim, levels)
    index = CodeIndex.build(planes, [clustered(planes, 640, 0)])
    assert index.nbytes() == 640 * dim * levels / 8


def test_a_saved_index_is_the_same_and_an_empty_batch_finds_nothing(tmp_path):
    planes = BitPlanes(65, 2)
    codes = clustered(planes, 500, 0)
    index = CodeIndex.build(planes, [codes], threads=2)
    index.save(tmp_path)
    loaded = CodeIndex.load(tmp_path)
    for one, other in zip(index.search(codes, 20), loaded.search(codes, 20), strict=True):
        np.testing.assert_array_equal(one, other)
    assert loaded.nbytes() == index.nbytes()
    assert index.search(codes[:0], 4).docs.shape == (0, 4)
    nothing = CodeIndex.build(planes, [])
    assert (nothing.search(codes[:2], 3).docs == -1).all()
    assert len(nothing) == nothing.nbytes() == 0
