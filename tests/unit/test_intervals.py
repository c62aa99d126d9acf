"""Intervals of means and ratios: against scipy's Wilson and Student's t, and their coverage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from rankstone.evaluation.intervals import of_means, of_ratio

RNG = np.random.default_rng(7)
VALUES = RNG.beta(0.4, 0.6, size=(400, 3))


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (19, 20), (20, 20), (7, 10), (1, 1), (150, 300)])
def test_of_zeros_and_ones_it_is_wilsons(hits, n):
    values = np.repeat([1.0, 0.0], [hits, n - hits])
    expected = stats.binomtest(hits, n).proportion_ci(method="wilson")
    low, high = of_means(values[:, None])
    assert (low[0], high[0]) == pytest.approx(tuple(expected), abs=1e-9)


@given(st.floats(0, 1), st.integers(1, 300))
def test_equal_values_have_wilsons_interval(value, n):
    """Their variance is not exactly 0: that of fifty times .1 is 2e-34."""
    low, high = of_means(np.full((n, 1), value))
    z2 = stats.norm.ppf(0.975) ** 2
    # Wilson's ends are where |mean - p| is z standard errors of a 0/1 measure with the mean p.
    for end in (low[0], high[0]):
        assert (value - end) ** 2 == pytest.approx(z2 * end * (1 - end) / n, abs=1e-7)
    assert high[0] - low[0] > 1 / (n + 4)


def test_a_column_does_not_depend_on_its_company():
    together, alone = of_means(VALUES), of_means(VALUES[:, 1:2])
    assert (alone.low[0], alone.high[0]) == (together.low[1], together.high[1])


def test_of_many_queries_it_is_students():
    low, high = of_means(VALUES)
    for column, ends in zip(VALUES.T, zip(low, high, strict=True), strict=True):
        expected = stats.ttest_1samp(column, 0).confidence_interval(0.95)
        assert ends == pytest.approx(tuple(expected), abs=2e-3)


def test_values_beyond_the_unit_interval_have_students():
    values = RNG.normal(3, 2, 30)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    low, high = of_means(values[:, None])
    assert (low[0], high[0]) == pytest.approx(tuple(expected))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_the_interval_contains_the_mean_within_0_and_1(values):
    low, high = of_means(np.array(values)[:, None])
    assert 0 <= low[0] <= np.mean(values) + 1e-9
    assert np.mean(values) - 1e-9 <= high[0] <= 1


def test_the_ratio_of_two_means_is_fiellers_and_knows_when_there_is_none():
    than = RNG.beta(2, 2, 200)
    of = 0.8 * than + RNG.normal(0, 0.05, 200)
    low, high = of_ratio(of, than)
    # The bounds are where the t-test of of - r * than just rejects (Fieller's own argument).
    for end in (low, high):
        assert stats.ttest_1samp(of - end * than, 0).pvalue == pytest.approx(0.05, abs=1e-6)
    assert of_ratio(of, np.where(np.arange(200) == 3, 1.0, 0.0)) == (-np.inf, np.inf)
    assert of_ratio(of[:1], than[:1]) == (-np.inf, np.inf)
