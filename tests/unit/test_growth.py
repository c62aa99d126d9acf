"""Exponents of growth: against scipy, and against laws whose exponent is known."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from rankstone.evaluation.growth import exponent

SIZES = np.array([512, 1024, 2048, 4096, 8192])


@given(st.floats(0, 3), st.floats(1e-9, 1e3))
def test_a_power_law_has_its_exponent_and_no_interval(power: float, factor: float) -> None:
    found = exponent(SIZES, factor * SIZES**power)
    assert found == pytest.approx((power, power, power), abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_the_interval_is_that_of_scipys_regression(seed: int) -> None:
    values = np.random.default_rng(seed).uniform(1e-3, 1e3, 5)
    found = exponent(SIZES, values)
    line = scipy.stats.linregress(np.log(SIZES), np.log(values))
    half = line.stderr * scipy.stats.t.ppf(0.975, 3)
    expected = (line.slope, line.slope - half, line.slope + half)
    assert found == pytest.approx(expected, rel=1e-9)


def test_two_sizes_have_no_interval() -> None:
    assert exponent([1, 2], [3, 12]) == (pytest.approx(2), None, None)
