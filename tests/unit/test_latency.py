"""Percentiles of latency against numpy, the binomial distribution, and simulation."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.signal import lfilter
from scipy.special import ndtr

from rankstone.errors import ResultsError
from rankstone.execution import timed_queries
from rankstone.execution.timed_queries import time_queries
from rankstone.profiling.latency import autocorrelation, effective_number, percentiles, summarise
from rankstone.results.record import LEAST, RANKS

times = st.lists(st.floats(0, 1e6, allow_nan=False), min_size=400, max_size=500)


def alike(n: int, r: float, seed: int) -> np.ndarray:
    """Return a stationary first-order process of exponential latencies, by normal scores."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=n)
    noise[1:] *= np.sqrt(1 - r * r)
    series = lfilter([1.0], [1.0, -r], noise)
    return -np.log(ndtr(-series))


def test_percentiles_and_intervals_are_those_of_a_worked_example() -> None:
    found = percentiles([4.0, 1.0, 3.0, 2.0, 5.0, 0.5])
    assert found.p50_ms == 2.5
    assert found.intervals == {"p50_ms": (0.5, 5.0)}  # as of the sign test: 2 / 2^6 = .031
    assert (found.p90_ms, found.p99_ms) == (None, None)
    assert found.max_ms == 5.0
    assert found.mean_ms == pytest.approx(15.5 / 6)


@settings(deadline=None, max_examples=10)
@given(times)
def test_percentiles_are_those_of_numpy(values: list[float]) -> None:
    values = np.random.default_rng(0).permutation(np.sort(values)).tolist()
    found = percentiles(values)
    for name, q in RANKS.items():
        if found.effective_n == len(values):
            assert found[name] == pytest.approx(float(np.percentile(values, q)))
            assert found.intervals[name][0] <= found[name] <= found.intervals[name][1]


@pytest.mark.parametrize(("name", "least"), LEAST.items())
def test_a_percentile_has_an_upper_end_from_as_many_as_the_binomial_says(name, least) -> None:
    share = RANKS[name] / 100
    assert (
        stats.binom.sf(least - 1, least, share)
        <= 0.025
        < stats.binom.sf(least - 2, least - 1, share)
    )
    rng = np.random.default_rng(0)
    assert percentiles(rng.permutation(np.arange(least)))[name] is not None
    assert percentiles(rng.permutation(np.arange(least - 1)))[name] is None


@pytest.mark.parametrize("n", [6, 40, 200, 1000])
@pytest.mark.parametrize("name", RANKS)
def test_intervals_are_the_narrowest_order_statistics_of_that_confidence(n, name) -> None:
    """For latencies 1 ... n, the ends are the ranks given by the binomial distribution."""
    found = percentiles(np.random.default_rng(0).permutation(np.arange(1, n + 1)))
    if found[name] is None:
        return
    low, high = map(int, found.intervals[name])
    drawn = stats.binom(n, RANKS[name] / 100)
    assert drawn.cdf(low - 1) <= 0.025 < drawn.cdf(low)
    assert drawn.sf(high - 1) <= 0.025 < drawn.sf(high - 2)


@pytest.mark.parametrize(
    ("r", "n", "trials"),
    [
        (0.0, 400, 200),
        (0.6, 1000, 150),
        *(
            pytest.param(*setting, 1000, marks=pytest.mark.slow)
            for setting in [(0.0, 200), (0.0, 400), (0.3, 400), (0.6, 2000), (0.9, 10_000)]
        ),
    ],
)
def test_intervals_cover(r: float, n: int, trials: int, capsys) -> None:
    """If treated as independent, latencies of autocorrelation .6 cover p90 in .82 of trials."""
    found = {name: list[bool]() for name in RANKS}
    for seed in range(trials):
        for name, (low, high) in percentiles(alike(n, r, seed)).intervals.items():
            true = float(stats.expon.ppf(RANKS[name] / 100))
            found[name].append(low <= true <= high)
    covered = {name: np.mean(own) for name, own in found.items() if len(own) > trials / 2}
    if trials == 1000:
        with capsys.disabled():
            shares = ", ".join(f"{name[:3]} {share:.3f}" for name, share in covered.items())
            sys.stdout.write(f"latency: {n}, autocorrelation {r}: covered {shares}" + "\n")
    assert min(covered.values()) >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / trials)


def test_autocorrelation_is_that_of_the_process_and_lowers_the_number() -> None:
    values = alike(4000, 0.7, 1)
    by_pandas = float(np.corrcoef(values[1:], values[:-1])[0, 1])
    assert autocorrelation(values) == pytest.approx(by_pandas, abs=0.01)
    normal = stats.norm.ppf(stats.expon.cdf(values))
    assert effective_number(normal) == pytest.approx(4000 * 0.3 / 1.7, rel=0.15)
    assert effective_number(alike(400, 0.0, 2)) == 400
    assert autocorrelation(np.full(9, 0.1)) is None
    found = summarise(values, values, warmup=0, threads=1, k=1).total
    assert found.effective_n < 1500
    assert found.p99_ms is not None


def asked(n_queries: int, pace_s: float, monkeypatch) -> tuple[list[int], object]:
    """Return the timed queries and the timing of a method of a given speed, with a fake clock."""
    now, rows, rng = [0.0], list[int](), np.random.default_rng(0)

    def ask(row: int) -> tuple[float, float]:
        rows.append(row)
        taken = pace_s * rng.uniform(0.9, 1.1, 2) / 2
        now[0] += taken.sum()
        return tuple(taken * 1e3)

    monkeypatch.setattr(timed_queries, "time", SimpleNamespace(monotonic=lambda: now[0]))
    reported = list[int]()
    found = time_queries(ask, n_queries, seed=3, report=reported.append)
    assert reported == list(range(1, len(found.encode_ms) + 1))
    return rows, found


@pytest.mark.parametrize("n_queries", [1, 3, 30, 250, 5000])
def test_timing_continues_until_every_percentile_has_an_interval(n_queries, monkeypatch) -> None:
    rows, found = asked(n_queries, 0.001, monkeypatch)
    summary = summarise(found.encode_ms, found.search_ms, warmup=1, threads=1, k=1)
    assert all(summary[part].intervals.keys() == RANKS.keys() for part in ("encode", "total"))
    assert summary.n == 368
    assert found.queries == min(n_queries, 368)
    timed = rows[found.warmup :]
    assert len(set(timed[:n_queries])) == min(n_queries, len(timed))  # in turn
    fresh = timed[: max(0, n_queries - found.warmup)]
    assert not set(fresh) & set(rows[: found.warmup])


@pytest.mark.parametrize(
    ("pace_s", "n", "missing"),
    [(0.02, 368, set()), (0.05, 200, {"p99_ms"}), (2.0, 16, {"p90_ms", "p95_ms", "p99_ms"})],
)
def test_timing_ends_at_its_bound_and_leaves_out_what_has_no_upper_end(
    pace_s, n, missing, monkeypatch
) -> None:
    _, found = asked(1000, pace_s, monkeypatch)
    summary = summarise(found.encode_ms, found.search_ms, warmup=1, threads=1, k=1)
    assert summary.n == pytest.approx(n, abs=2)
    assert {name for name in RANKS if summary.total[name] is None} == missing


@pytest.mark.parametrize("values", [[], [[1.0]], [np.nan], [np.inf], [-1.0]])
def test_invalid_latencies_are_refused(values: list[float]) -> None:
    with pytest.raises(ResultsError):
        percentiles(values)


def test_the_total_is_summed_per_query() -> None:
    ones, nines = np.array([1.0, 9.0] * 3), np.array([9.0, 1.0] * 3)
    found = summarise(ones, nines, warmup=3, threads=2, k=10)
    assert (found.total.p50_ms, found.total.max_ms) == (10.0, 10.0)
    assert (found.encode.p50_ms, found.n, found.warmup, found.k) == (5.0, 6, 3, 10)
    with pytest.raises(ResultsError, match="differ in number"):
        summarise(np.array([1.0]), np.array([]), warmup=0, threads=1, k=1)
