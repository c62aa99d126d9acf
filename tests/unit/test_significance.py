"""Paired tests against scipy, enumeration and worked examples."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from rankstone.evaluation.significance import (
    detectable,
    holm,
    paired,
    permutation_test,
    t_test,
)

VALUES = st.floats(0, 1).map(lambda x: round(x, 2))


def test_the_t_test_is_scipys_of_related_samples():
    rng = np.random.default_rng(0)
    of, than = rng.random(50), rng.random(50)
    expected = scipy.stats.ttest_rel(of, than).pvalue
    assert paired(of, than).t_p == pytest.approx(expected, rel=1e-9)


def test_few_queries_are_enumerated():
    differences = np.array([0.3, -0.1, 0.2, 0.5, 0.0, 0.4])
    moved = differences[differences != 0]
    flips = [np.dot(s, np.abs(moved)) for s in itertools.product((-1, 1), repeat=len(moved))]
    expected = np.mean(np.abs(flips) >= abs(moved.sum()) - 1e-12)
    assert permutation_test(differences) == pytest.approx(expected)


def test_many_queries_agree_with_the_t_test_on_normal_differences():
    rng = np.random.default_rng(1)
    differences = rng.normal(0.02, 0.1, 200)
    assert permutation_test(differences) == pytest.approx(t_test(differences), abs=0.01)


@given(st.lists(st.tuples(VALUES, VALUES), min_size=2, max_size=12))
def test_turning_the_comparison_around_turns_its_sign(pairs):
    of, than = np.array(pairs).T
    one, other = paired(of, than), paired(than, of)
    assert one.difference == pytest.approx(-other.difference, abs=1e-12)
    assert one.t_p == pytest.approx(other.t_p)
    assert one.permutation_p == pytest.approx(other.permutation_p)
    assert (one.wins, one.ties, one.losses) == (other.losses, other.ties, other.wins)
    assert one.n == len(pairs)
    assert 0 < one.permutation_p <= 1


def test_no_difference_is_no_evidence():
    same = np.linspace(0, 1, 9)
    found = paired(same, same + 1e-12)
    assert (found.t_p, found.permutation_p, found.effect) == (1.0, 1.0, 0.0)
    assert (found.wins, found.ties, found.losses) == (0, 9, 0)
    constant = paired(same + 0.5, same)
    assert constant.t_p == 0.0
    assert constant.effect > 1e6


def test_holm_on_a_worked_example():
    # Sorted .005 .01 .03 .04 times 4 3 2 1; the last may not be below the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(1e-6, 1), min_size=1, max_size=8))
def test_holm_lies_between_none_and_bonferroni(values):
    adjusted = holm(values)
    for raw, found in zip(values, adjusted, strict=True):
        assert raw - 1e-12 <= found <= min(1.0, raw * len(values)) + 1e-12
    order = np.argsort(values, kind="stable")
    assert (np.diff(np.array(adjusted)[order]) >= -1e-12).all()


def test_the_detectable_drop_is_detected_as_often_as_promised():
    rng = np.random.default_rng(2)
    spread, n = 0.2, 60
    drops = []
    for _ in range(400):
        noise = rng.normal(0, spread, n)
        drops.append(scipy.stats.ttest_1samp(noise - DROP, 0.0, alternative="less").pvalue < 0.05)
    assert np.mean(drops) == pytest.approx(0.8, abs=0.06)


DROP = detectable(np.random.default_rng(3).normal(0, 0.2, 100_000)) * np.sqrt(100_000 / 60)
