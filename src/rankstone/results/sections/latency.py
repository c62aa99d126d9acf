"""Sections of a record about the latency of single queries."""

from __future__ import annotations

from rankstone.results.sections.fields import Amount, Count, Name, Section, Value

RANKS = {"p50_ms": 50, "p90_ms": 90, "p95_ms": 95, "p99_ms": 99}
"""Fields of percentiles, and their ranks."""
LEAST = {"p50_ms": 6, "p90_ms": 36, "p95_ms": 72, "p99_ms": 368}
"""Number of independent latencies from which the 95% interval of a percentile is finite: p99 has an
upper end if .99^n is at most .025."""
PARTS = ("encode", "search", "total")


class Percentiles(Section):
    """Milliseconds; null if the latencies are too few for a finite 95% interval."""

    p50_ms: Amount | None = None
    p90_ms: Amount | None = None
    p95_ms: Amount | None = None
    p99_ms: Amount | None = None
    max_ms: Amount
    mean_ms: Amount
    intervals: dict[Name, tuple[Amount, Amount]] = {}
    """95% interval of each percentile by order statistics; empty in records before schema 5."""
    autocorrelation: Value | None = None
    """Lag-1 autocorrelation of the latencies in the order they were measured."""
    effective_n: Count | None = None
    """Effective number of independent latencies: n, unless the autocorrelation is large."""


class Latency(Section):
    """One query at a time, closed loop, after a warm-up."""

    encode: Percentiles
    search: Percentiles
    total: Percentiles
    n: Count
    queries: Count | None = None
    """Number of different queries, which are repeated in turn; null before schema 5."""
    warmup: Count
    threads: Count
    k: Count
    others_cores: Amount | None = None
    """Cores that other processes kept busy while queries were searched; null if not known."""
