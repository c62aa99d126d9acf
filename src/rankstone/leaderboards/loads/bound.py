"""Bound on the latency of a record under load."""

from __future__ import annotations

from typing import Literal, NamedTuple

from rankstone.leaderboards.numbers import significant
from rankstone.results.record import RunRecord


class Bounded(NamedTuple):
    """Comparison of a 99th percentile with its bound."""

    verdict: Literal["within", "exceeded", "undecided", "incomparable", "missing"]
    detail: str
    p99_ms: float | None = None
    low: float | None = None
    high: float | None = None


def bounded(record: RunRecord, rate: float, p99_ms: float) -> Bounded:
    """Judge whether the interval of p99 at `rate` requests per second lies within `p99_ms`."""
    tried = record.load.trials if record.load else ()
    trials = [trial for trial in tried if trial.rate == rate]
    command = f"rankstone load {record.method.name} --on {record.task.name} --rate {rate:g}"
    if not trials:
        return Bounded("missing", f"no trial at this rate. Measure it: {command}")
    trial = trials[0]
    if trial.same != 1:
        return Bounded("incomparable", "its answers differ from those of a single client")
    ends = trial.latency.intervals.get("p99_ms")
    if trial.latency.p99_ms is None or ends is None:
        detail = f"{trial.n:,} requests are too few. Measure longer: {command} --duration 60s"
        return Bounded("undecided", detail)
    return _judged(trial.latency.p99_ms, *ends, p99_ms)


def _judged(value: float, low: float, high: float, p99_ms: float) -> Bounded:
    verdict: Literal["within", "exceeded", "undecided"] = "undecided"
    if high <= p99_ms:
        verdict = "within"
    elif low > p99_ms:
        verdict = "exceeded"
    detail = f"p99 {significant(value)} ms ({significant(low)} to {significant(high)})"
    return Bounded(verdict, detail, value, low, high)
