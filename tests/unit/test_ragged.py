"""Ragged representations: a sequence over texts, for all storage types."""

import numpy as np
import pytest
from scipy.stats import norm

from rankstone.runners.representations.base import UNPACK, concatenate, pack, take
from rankstone.runners.representations.ragged import Ragged, ragged, stored
from rankstone.runners.representations.two_bits import LEVELS, THRESHOLDS, TwoBits, turned, two_bits

LENGTHS = (3, 0, 1, 5, 0, 0, 2)


@pytest.fixture
def matrices():
    rng = np.random.default_rng(0)
    return [rng.standard_normal((length, 6), dtype=np.float32) for length in LENGTHS]


@pytest.fixture(params=["float32", "float16", "2bit"])
def rep(request, matrices):
    return ragged(matrices, 6, request.param)


def assert_equal(rep, matrices):
    assert len(rep) == len(matrices)
    for one, other in zip(rep.matrices(), matrices, strict=True):
        np.testing.assert_array_equal(one, other)


def test_float32_keeps_the_vectors(matrices):
    assert_equal(ragged(matrices, 6), matrices)


@pytest.mark.parametrize(
    "part",
    [slice(None), slice(2, 5), slice(4, 6), slice(5, 2), slice(-2, None), slice(None, None, 3)],
)
def test_a_slice_is_that_of_a_list(rep, part):
    assert_equal(rep[part], rep.matrices()[part])
    assert_equal(rep[part][:1], rep.matrices()[part][:1])


@pytest.mark.parametrize("positions", [[3, 0, 1, 3], [6, 5, 4, 3, 2, 1, 0], []])
def test_taking_is_that_of_a_list(rep, positions):
    everything = rep.matrices()
    assert_equal(take(rep, np.array(positions, dtype=np.int64)), [everything[i] for i in positions])
    assert_equal(take(rep[1:], np.array([2, 0], dtype=np.int64)), [everything[3], everything[1]])


def test_parts_join_to_the_whole(rep):
    assert_equal(concatenate([rep[:2], rep[2:2], rep[2:6], rep[6:]]), rep.matrices())


def test_packed_representations_are_unpacked(rep):
    for part in (rep, rep[2:4], rep[:0]):
        packed = pack(part)
        again = UNPACK[packed.kind](packed.arrays)
        assert type(again.tokens) is type(part.tokens)
        assert_equal(again, part.matrices())


def test_nothing_is_something_of_no_length():
    nothing = ragged([], 6, "2bit")
    assert (len(nothing), nothing.dim, nothing.matrices()) == (0, 6, [])
    assert isinstance(nothing, Ragged)


def test_storage_has_the_size_it_says():
    vectors = np.ones((10, 128), dtype=np.float32)
    sizes = {s: sum(a.nbytes for a in pack(stored(vectors, s)).arrays.values())
             for s in ("float32", "float16", "2bit")}  # fmt: skip
    assert sizes == {"float32": 5120, "float16": 2560, "2bit": 10 * (32 + 4) + 8}


def test_the_levels_are_those_of_the_best_quantiser_of_the_normal_distribution():
    edges = np.array([-np.inf, *THRESHOLDS, np.inf])
    mass = norm.cdf(edges[1:]) - norm.cdf(edges[:-1])
    means = (norm.pdf(edges[:-1]) - norm.pdf(edges[1:])) / mass
    np.testing.assert_allclose(LEVELS, means, atol=2e-5)
    np.testing.assert_allclose(THRESHOLDS, (LEVELS[1:] + LEVELS[:-1]) / 2, atol=2e-5)


@pytest.mark.parametrize("dim", [5, 128])
def test_turning_changes_no_inner_product_and_is_the_same_for_ever(dim):
    x = np.random.default_rng(0).standard_normal((20, dim)).astype(np.float32)
    np.testing.assert_allclose(turned(x) @ turned(x).T, x @ x.T, atol=1e-4)
    if dim == 5:
        known = [0.538864, 0.249046, 0.624693, 0.507235, -0.008527]
        np.testing.assert_allclose(turned(np.eye(5, dtype=np.float32))[0], known, atol=1e-5)


def test_two_bits_keep_the_product_with_oneself_and_most_of_a_vector():
    # Dimensions of very different weight, as encoders have them.
    rng = np.random.default_rng(0)
    x = rng.standard_normal((500, 128)) * np.exp(rng.standard_normal(128))
    x = turned((x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32))
    again = two_bits(x).decoded()
    np.testing.assert_allclose((x * again).sum(axis=1), 1, atol=1e-5)
    # 1 / (1 - .1175) - 1: the squared error of Max's levels, after the scale.
    assert ((x - again) ** 2).sum(axis=1).mean() == pytest.approx(0.133, abs=0.005)


def test_two_bits_of_nothing_are_nothing():
    codes = two_bits(np.zeros((2, 7), dtype=np.float32))
    assert isinstance(codes, TwoBits)
    np.testing.assert_array_equal(codes.decoded(), np.zeros((2, 7)))
    np.testing.assert_array_equal(
        two_bits(np.zeros((0, 7), dtype=np.float32)).decoded(), np.zeros((0, 7))
    )
