"""Percentiles of single-query latencies, with confidence intervals.

A percentile is interpolated linearly between the two nearest order statistics (definition 7 of
Hyndman and Fan 1996, "Sample quantiles in statistical packages"; numpy's default). Its interval
lies between two order statistics whose ranks are quantiles of the binomial distribution (David and
Nagaraja, Order Statistics, 2003, section 7.1); it is exact for independent latencies of any
distribution. With few latencies there is no upper end (for p99 below 368, because .99^367 > .025);
such a percentile is not reported.

Successive latencies are correlated if clocks, caches or other load drift. If their lag-1
autocorrelation r is large, n latencies count as n (1 - r) / (1 + r) independent ones (Bayley and
Hammersley, The "effective" number of independent observations in an autocorrelated time series, J.
Royal Statistical Society Supplement 8, 1946; for first-order processes).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from rankstone.arrays import Floats
from rankstone.errors import ResultsError
from rankstone.results.record import LEAST, RANKS, Latency, Percentiles

TAIL = 0.025
"""Probability that a percentile is beyond one end of its interval."""
LARGE = 0.2
"""Autocorrelation above which latencies are not treated as independent."""


def percentiles(values_ms: ArrayLike) -> Percentiles:
    """Return percentiles of (n,) latencies in milliseconds, n at least 1.

    Raises:
        ResultsError: there are no values, or one is NaN, infinite or negative.
    """
    values = _checked(values_ms)
    ordered, count = np.sort(values), effective_number(values)
    intervals = {}
    for name, rank in RANKS.items():
        ends = _ranks(rank / 100, count)
        if ends is not None:
            intervals[name] = _ends(ordered, ends, count)
    points = np.percentile(ordered, list(RANKS.values()), method="linear").tolist()
    named = {n: p for n, p in zip(RANKS, points, strict=True) if n in intervals}
    return Percentiles(
        **named,
        max_ms=float(ordered[-1]),
        mean_ms=float(values.mean()),
        intervals=intervals,
        autocorrelation=autocorrelation(values),
        effective_n=count,
    )


def autocorrelation(values: Floats) -> float | None:
    """Return the lag-1 autocorrelation; None for fewer than three values, or constant values."""
    centred = values - values.mean()
    total = float((centred**2).sum())
    if len(values) < 3 or total <= 1e-24 * float((values**2).sum()):
        return None
    return float((centred[1:] * centred[:-1]).sum() / total)


def effective_number(values: Floats) -> int:
    """Return the effective number of independent latencies among (n,) successive ones.

    It is n unless the autocorrelation is large: above `LARGE`, and above two standard errors of
    independent values, 2 / sqrt(n).
    """
    n, r = len(values), autocorrelation(values)
    if r is None or r <= max(LARGE, 2 / math.sqrt(n)):
        return n
    return max(1, math.floor(n * (1 - r) / (1 + r)))


def further(encode_ms: Floats, search_ms: Floats) -> int:
    """Return the number of further latencies for one more interval; 0 if all exist."""
    parts = (encode_ms, search_ms, encode_ms + search_ms)
    return max(_further(len(values), effective_number(values)) for values in parts)


def _further(n: int, count: int) -> int:
    """Return the same for one array, whose `n` latencies count as `count`."""
    missing = [least for least in LEAST.values() if least > count]
    return max(1, math.ceil(min(missing) * n / count) - n) if missing else 0


def _checked(values_ms: ArrayLike) -> Floats:
    values = np.asarray(values_ms, dtype=np.float64)
    if values.ndim != 1 or not len(values):
        raise ResultsError(f"Latencies have shape {values.shape}; expected (n,) with n at least 1.")
    if not np.isfinite(values).all() or (values < 0).any():
        raise ResultsError("A latency is NaN, infinite or negative. Time with a monotonic clock.")
    return values


def _ranks(share: float, n: int) -> tuple[int, int] | None:
    """Return the ranks, from 1, of the order statistics around a quantile; None if one is missing.

    The quantile is below the lower, and above the upper, with probability `TAIL` at most.
    """
    from scipy.special import bdtr

    below = bdtr(np.arange(n + 1), n, share)  # P(at most k of n lie below the quantile)
    low = int(np.searchsorted(below, TAIL, side="right"))
    high = int(np.searchsorted(below, 1 - TAIL, side="left")) + 1
    return (low, high) if low >= 1 and high <= n else None


def _ends(ordered: Floats, ranks: tuple[int, int], count: int) -> tuple[float, float]:
    """Return the latencies at ranks of `count` independent ones, rounded outwards."""
    share = len(ordered) / count
    low, high = math.floor(ranks[0] * share), math.ceil(ranks[1] * share)
    return float(ordered[max(low, 1) - 1]), float(ordered[min(high, len(ordered)) - 1])


def summarise(
    encode_ms: Floats,
    search_ms: Floats,
    *,
    warmup: int,
    threads: int,
    k: int,
    queries: int | None = None,
) -> Latency:
    """Return the latency section of a record; `total` is the sum of the (n,) arrays per query."""
    if np.shape(encode_ms) != np.shape(search_ms):
        raise ResultsError("Latencies of encoding and searching differ in number; time both.")
    return Latency(
        encode=percentiles(encode_ms),
        search=percentiles(search_ms),
        total=percentiles(np.add(encode_ms, search_ms)),
        n=len(encode_ms),
        queries=queries,
        warmup=warmup,
        threads=threads,
        k=k,
    )
