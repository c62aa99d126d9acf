"""The sign-flip test against scipy's permutation test, enumeration and the binomial test."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from scipy import stats

from rankstone.evaluation.sign_flips import bounds, log_p_above, p_above, p_two_sided

RNG = np.random.default_rng(7)
DENSE = RNG.normal(0.05, 0.3, 12)
SPARSE = np.where(RNG.random(400) < 0.1, RNG.normal(-0.1, 0.4, 400), 0.0)


def by_scipy(differences, alternative, **settings):
    return stats.permutation_test(
        (differences,),
        lambda values, axis: values.mean(axis=axis),
        permutation_type="samples",
        alternative=alternative,
        vectorized=True,
        rng=np.random.default_rng(0),
        **settings,
    ).pvalue


@pytest.mark.parametrize("differences", [DENSE, -DENSE, np.round(DENSE, 1), DENSE[:3]])
def test_few_differences_are_tested_exactly(differences):
    exact = {"n_resamples": np.inf}
    assert p_above(differences) == pytest.approx(by_scipy(differences, "greater", **exact))
    assert p_two_sided(differences) == pytest.approx(by_scipy(differences, "two-sided", **exact))


@pytest.mark.parametrize("n", [25, 200, 600])
def test_many_differences_agree_with_random_flips(n):
    differences = np.random.default_rng(n).normal(1.6 / np.sqrt(n), 1, n)
    drawn = by_scipy(differences, "greater", n_resamples=10_000, batch=2000)
    assert p_above(differences) == pytest.approx(drawn, abs=4 * np.sqrt(drawn / 10_000))


def by_enumeration(differences):
    """Return p over all signs: the sums of two halves are counted without listing 2^n of them."""
    n = len(differences)
    signs = np.array(list(itertools.product((-1, 1), repeat=n // 2)))
    first, second = (
        np.sort(signs @ abs(part)) for part in np.split(differences[: 2 * (n // 2)], 2)
    )
    rest = [0.0] if n % 2 == 0 else [abs(differences[-1]), -abs(differences[-1])]
    above = sum(
        (len(second) - np.searchsorted(second, differences.sum() - one - first - 1e-9)).sum()
        for one in rest
    )
    return above / 2**n


@given(st.integers(14, 22), st.integers(0, 1000), st.floats(0, 1.5))
@example(21, 613, 1.0)
def test_the_tail_is_that_of_all_flips(n, seed, shift):
    differences = np.random.default_rng(seed).normal(shift, 1, n)
    assert p_above(differences) == pytest.approx(by_enumeration(differences), rel=1e-9)


@given(st.integers(23, 30), st.integers(0, 1000), st.floats(0, 0.6))
def test_the_tail_of_more_differences_is_close(n, seed, shift):
    differences = np.random.default_rng(seed).normal(shift, 1, n)
    exact = by_enumeration(differences)
    assume(exact > 100 / 2**n)
    assert p_above(differences) == pytest.approx(exact, rel=0.1)


def test_equal_differences_are_a_sign_test():
    for wins, losses in [(40, 25), (700, 650), (30, 0), (3, 9)]:
        differences = np.array([0.25] * wins + [-0.25] * losses + [0.0] * 50)
        expected = stats.binomtest(wins, wins + losses, alternative="greater").pvalue
        assert p_above(differences) == pytest.approx(expected, rel=1e-9)


def test_no_floor_but_that_of_the_data():
    differences = np.full(300, -0.012)
    assert log_p_above(-differences) == pytest.approx(-300 * np.log(2))
    noisy = differences + np.random.default_rng(3).normal(0, 0.005, 300)
    t = stats.ttest_1samp(-noisy, 0, alternative="greater")
    assert p_above(-noisy) < 1e-60
    assert p_above(-noisy) >= 2.0**-300
    assert t.pvalue < 1e-60
    assert p_above(np.full(6, -0.019), 0.0) == 1.0
    assert p_above(-np.full(6, -0.019)) == pytest.approx(2.0**-6)


def test_without_a_difference_nothing_is_shown():
    assert p_above(np.zeros(10)) == 1.0
    assert p_two_sided(np.zeros(0)) == 1.0


@given(
    st.lists(st.floats(-1, 1).map(lambda x: round(x, 3)), min_size=2, max_size=60),
    st.floats(0.001, 0.4),
)
def test_bounds_are_what_the_test_does_not_reject(values, level):
    differences = np.array(values)
    low, high = bounds(differences, level)
    assert low <= differences.mean() <= high
    assert np.isneginf(low) == (len(values) * np.log(2) < -np.log(level)) == np.isposinf(high)
    if np.isfinite(low) and np.ptp(differences) > 0:
        assert p_above(differences, low - 1e-6) <= level * (1 + 1e-6)
        assert p_above(-differences, -high - 1e-6) <= level * (1 + 1e-6)
        assert differences.min() - 1e-6 <= low
        assert high <= differences.max() + 1e-6


@pytest.mark.parametrize("n", [5, 11, 18])
def test_at_the_smallest_p_the_bounds_are_the_extremes(n):
    differences = np.random.default_rng(n).integers(-2, 3, n).astype(float)
    assert bounds(differences, 2.0**-n) == (differences.min(), differences.max())


def test_bounds_of_normal_differences_are_those_of_student():
    differences = np.random.default_rng(5).normal(0.02, 0.3, 500)
    low, high = bounds(differences, 0.025)
    expected = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    assert (low, high) == pytest.approx(tuple(expected), abs=5e-4)


FLOATS = st.floats(-1, 1).map(lambda x: round(x, 6))


@given(st.lists(FLOATS, min_size=1, max_size=300), st.floats(0.1, 1e3))
def test_scale_and_direction_do_not_matter(values, scale):
    differences = np.array(values)
    assert log_p_above(differences * scale) == pytest.approx(log_p_above(differences), abs=1e-6)
    assert 0 <= p_above(differences) <= 1
    assert p_two_sided(differences) == p_two_sided(-differences)


def test_sparse_differences_are_tested_by_those_that_moved():
    moved = SPARSE[SPARSE != 0]
    assert log_p_above(-SPARSE) == pytest.approx(log_p_above(-moved))
    drawn = by_scipy(-moved, "greater", n_resamples=10_000)
    assert p_above(-moved) == pytest.approx(drawn, abs=5 * np.sqrt(drawn / 10_000) + 2e-3)


def test_a_weighted_mean_of_tasks_is_tested_as_one():
    one, other = RNG.normal(0.1, 0.3, 40), RNG.normal(-0.02, 0.2, 160)
    weights = np.repeat([1 / 40, 1 / 160], [40, 160]) * 100
    both = np.concatenate([one, other])
    low, high = bounds(both, 0.025, weights)
    # Of stratified means: variances add (Cochran, Sampling Techniques, 1977, theorem 5.3).
    error = np.sqrt(one.var(ddof=1) / 40 + other.var(ddof=1) / 160) / 2
    mean = (one.mean() + other.mean()) / 2
    assert (low, high) == pytest.approx((mean - 1.96 * error, mean + 1.96 * error), abs=6e-3)
    same = np.concatenate([one, one])
    assert p_above(same, 0.02, np.ones(80)) == pytest.approx(p_above(same, 0.02))
