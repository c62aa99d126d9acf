"""Percentiles of single-query latencies.

A percentile is interpolated linearly between the two nearest order statistics (definition 7 of
Hyndman and Fan 1996, "Sample quantiles in statistical packages"; numpy's default). With fewer than
100 timed queries the 99th percentile lies between the two slowest.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rankstone.errors import ResultsError
from rankstone.results.record import Latency, Percentiles


def percentiles(values_ms: ArrayLike) -> Percentiles:
    """Return percentiles of (n,) latencies in milliseconds, n at least 1.

    Raises:
        ResultsError: There are no values, or one is NaN, infinite or negative.
    """
    values = np.asarray(values_ms, dtype=np.float64)
    if values.ndim != 1 or not len(values):
        raise ResultsError(f"Latencies have shape {values.shape}; expected (n,) with n at least 1.")
    if not np.isfinite(values).all() or (values < 0).any():
        raise ResultsError("A latency is NaN, infinite or negative. Time with a monotonic clock.")
    ranks = (50, 90, 95, 99)
    points = np.percentile(values, ranks, method="linear").tolist()
    named = {f"p{rank}_ms": point for rank, point in zip(ranks, points, strict=True)}
    return Percentiles(**named, max_ms=float(values.max()), mean_ms=float(values.mean()))


def summarise(
    encode_ms: NDArray[np.float64],
    search_ms: NDArray[np.float64],
    *,
    warmup: int,
    threads: int,
    k: int,
) -> Latency:
    """Return the latency section of a record; `total` is the sum of the (n,) arrays per query."""
    if np.shape(encode_ms) != np.shape(search_ms):
        raise ResultsError("Latencies of encoding and searching differ in number; time both.")
    return Latency(
        encode=percentiles(encode_ms),
        search=percentiles(search_ms),
        total=percentiles(np.add(encode_ms, search_ms)),
        n=len(encode_ms),
        warmup=warmup,
        threads=threads,
        k=k,
    )
