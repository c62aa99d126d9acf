"""Codes of few bits per dimension against arithmetic on the vectors that they represent."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rankstone.runners.search.binary.bit_planes import BitPlanes, popcount

SHAPES = [(384, 1), (384, 2), (37, 2), (5, 3), (64, 4), (1, 1)]


def signs(planes: BitPlanes, n: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 2, (n, planes.levels, planes.dim)).astype(bool)


def grid(bits):
    """sum_i 2^-i (2 bit - 1), the definition."""
    terms = [(2.0 * bits[:, i] - 1) / 2**i for i in range(bits.shape[1])]
    return np.sum(terms, axis=0)


@pytest.mark.parametrize(("dim", "levels"), SHAPES)
def test_a_code_stands_for_the_grid_point_of_its_signs(dim, levels):
    planes = BitPlanes(dim, levels)
    bits = signs(planes, 20)
    codes = planes.pack(bits)
    assert codes.shape == (20, -(-dim // 64), levels)
    np.testing.assert_array_equal(planes.decode(codes), grid(bits))


@settings(deadline=None)
@given(
    dim=st.integers(1, 140), levels=st.integers(1, 4), n=st.integers(1, 5), seed=st.integers(0, 99)
)
def test_squared_lengths_by_counting_bits_are_exact(dim, levels, n, seed):
    planes = BitPlanes(dim, levels)
    bits = signs(planes, n, seed)
    np.testing.assert_array_equal(planes.squares(planes.pack(bits)), (grid(bits) ** 2).sum(axis=1))


def test_old_and_new_numpy_count_bits_equally(monkeypatch):
    words = np.random.default_rng(0).integers(0, 2**63, (4, 6), dtype=np.uint64)
    expected = [sum(bin(word).count("1") for word in row.tolist()) for row in words]
    np.testing.assert_array_equal(popcount(words), expected)
    monkeypatch.delattr(np, "bitwise_count", raising=False)
    np.testing.assert_array_equal(popcount(words), expected)
