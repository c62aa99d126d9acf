"""The bootstrap interval: deterministic, shared by measures, and of the right width."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from rankstone.evaluation import intervals
from rankstone.evaluation.intervals import bootstrap

VALUES = np.random.default_rng(7).beta(0.4, 0.6, size=(400, 3))


def test_it_is_deterministic_and_a_column_does_not_depend_on_its_company():
    together = bootstrap(VALUES)
    assert np.array_equal(together, bootstrap(VALUES))
    alone = bootstrap(np.ascontiguousarray(VALUES[:, 1:2]))
    assert (alone.low[0], alone.high[0]) == (together.low[1], together.high[1])
    assert not np.array_equal(together, bootstrap(VALUES, seed=1))


def test_it_agrees_with_the_normal_approximation():
    low, high = bootstrap(VALUES)
    mean, error = VALUES.mean(axis=0), stats.sem(VALUES, axis=0)
    assert low == pytest.approx(mean - 1.96 * error, abs=0.3 * error.max())
    assert high == pytest.approx(mean + 1.96 * error, abs=0.3 * error.max())


def test_it_agrees_with_scipy():
    low, high = bootstrap(VALUES[:, :1])
    theirs = stats.bootstrap((VALUES[:, 0],), np.mean, n_resamples=1000, method="percentile", rng=3)
    error = stats.sem(VALUES[:, 0])
    assert low[0] == pytest.approx(theirs.confidence_interval.low, abs=0.25 * error)
    assert high[0] == pytest.approx(theirs.confidence_interval.high, abs=0.25 * error)


def test_few_queries():
    assert bootstrap(np.array([[0.25]])) == (0.25, 0.25)
    low, high = bootstrap(np.array([[0.0], [1.0]]))
    assert (low[0], high[0]) == (0.0, 1.0)


def test_memory_is_bounded_by_blocks(monkeypatch):
    monkeypatch.setattr(intervals, "BLOCK_DRAWS", 1000)
    low, high = bootstrap(VALUES)
    whole_mean = VALUES.mean(axis=0)
    assert ((low < whole_mean) & (whole_mean < high)).all()
