"""Rank correlations against scipy on explicit resamples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from rankstone.leaderboards.papers.rank_agreement import agreement, spearman, tau_b

SCORES = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 3)), min_size=3)


@given(SCORES)
def test_resamples_have_scipys_correlations(rows: list[tuple[int, int, int]]) -> None:
    one, other, drawn = np.array(rows, dtype=np.float64).T
    x, y = (np.repeat(values, drawn.astype(int)) for values in (one, other))
    if len(set(x)) < 2 or len(set(y)) < 2:
        assert np.isnan(tau_b(one, other, drawn[None])).all()
        assert np.isnan(spearman(one, other, drawn[None])).all()
        return
    assert tau_b(one, other, drawn[None])[0] == pytest.approx(stats.kendalltau(x, y).statistic)
    assert spearman(one, other, drawn[None])[0] == pytest.approx(stats.spearmanr(x, y).statistic)


def test_the_interval_is_that_of_scipys_bootstrap() -> None:
    rng = np.random.default_rng(5)
    one = rng.normal(size=40)
    other = one + rng.normal(size=40)
    found = agreement(one, other)
    for estimate, of in ((found.tau, stats.kendalltau), (found.rho, stats.spearmanr)):
        theirs = stats.bootstrap(
            (one, other), lambda x, y, of=of: of(x, y).statistic, paired=True, vectorized=False,
            n_resamples=600, method="percentile", rng=7,
        )  # fmt: skip
        assert estimate.value == pytest.approx(of(one, other).statistic)
        ends = theirs.confidence_interval
        assert (estimate.low, estimate.high) == pytest.approx((ends.low, ends.high), abs=0.03)


def test_equal_rankings_agree_by_one_and_opposite_ones_by_minus_one() -> None:
    one = np.arange(10, dtype=np.float64)
    assert agreement(one, one**3).tau == agreement(one, one**3).rho == (1, 1, 1)
    assert agreement(one, -one).tau == (-1, -1, -1)
