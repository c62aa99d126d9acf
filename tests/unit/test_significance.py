"""Paired tests against scipy, enumeration and worked examples."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from rankstone.evaluation.family import holm
from rankstone.evaluation.significance import paired

VALUES = st.floats(0, 1).map(lambda x: round(x, 2))


def test_the_interval_and_p_are_close_to_those_of_the_t_test_on_normal_differences():
    rng = np.random.default_rng(0)
    of, than = rng.normal(0.5, 0.2, 200), rng.normal(0.45, 0.2, 200)
    found, expected = paired(of, than), scipy.stats.ttest_rel(of, than)
    assert found.p == pytest.approx(expected.pvalue, rel=0.1)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval()), abs=1e-3)


def test_few_queries_are_enumerated():
    differences = np.array([0.3, -0.1, 0.2, 0.5, 0.0, 0.4])
    moved = differences[differences != 0]
    flips = [np.dot(s, np.abs(moved)) for s in itertools.product((-1, 1), repeat=len(moved))]
    expected = np.mean(np.abs(flips) >= abs(moved.sum()) - 1e-12)
    assert paired(differences, np.zeros(6)).p == pytest.approx(expected)


@given(st.lists(st.tuples(VALUES, VALUES), min_size=2, max_size=12))
def test_turning_the_comparison_around_turns_its_sign(pairs):
    of, than = np.array(pairs).T
    one, other = paired(of, than), paired(than, of)
    assert one.difference == pytest.approx(-other.difference, abs=1e-12)
    assert one.p == pytest.approx(other.p)
    assert one.low == pytest.approx(-other.high, abs=1e-6)
    assert (one.wins, one.ties, one.losses) == (other.losses, other.ties, other.wins)
    assert one.n == len(pairs)
    assert 0 < one.p <= 1


def test_no_difference_is_no_evidence():
    same = np.linspace(0, 1, 9)
    found = paired(same, same + 1e-12)
    assert (found.p, found.effect) == (1.0, 0.0)
    assert (found.wins, found.ties, found.losses) == (0, 9, 0)
    constant = paired(same + 0.5, same)
    assert constant.p == pytest.approx(2 * 2.0**-9)
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
