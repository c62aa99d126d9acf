from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rankstone.errors import ResultsError
from rankstone.profiling.latency import percentiles, summarise

times = st.lists(st.floats(0, 1e6, allow_nan=False), min_size=1, max_size=200)


def test_worked_example() -> None:
    found = percentiles([4.0, 1.0, 3.0, 2.0, 5.0])
    assert found.p50_ms == 3.0
    assert found.p90_ms == pytest.approx(4.6)
    assert found.max_ms == 5.0
    assert found.mean_ms == 3.0


@settings(deadline=None)
@given(times)
def test_equal_to_numpy(values: list[float]) -> None:
    found = percentiles(values)
    for q in (50, 90, 95, 99):
        assert found[f"p{q}_ms"] == pytest.approx(float(np.percentile(values, q)))
    assert found.p50_ms <= found.p90_ms <= found.p95_ms <= found.p99_ms <= found.max_ms


@pytest.mark.parametrize("values", [[], [[1.0]], [np.nan], [np.inf], [-1.0]])
def test_what_is_no_latency(values: list[float]) -> None:
    with pytest.raises(ResultsError):
        percentiles(values)


def test_the_total_is_summed_per_query() -> None:
    found = summarise(np.array([1.0, 9.0]), np.array([9.0, 1.0]), warmup=3, threads=2, k=10)
    assert (found.total.p50_ms, found.total.max_ms) == (10.0, 10.0)
    assert (found.encode.p50_ms, found.n, found.warmup, found.k) == (5.0, 2, 3, 10)
    with pytest.raises(ResultsError, match="differ in number"):
        summarise(np.array([1.0]), np.array([]), warmup=0, threads=1, k=1)
