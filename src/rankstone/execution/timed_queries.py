"""Queries timed one by one in a closed loop, until their percentiles have intervals."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from rankstone.arrays import Floats
from rankstone.profiling.latency import further

QUERIES = 200
WARMUP = 20
BUDGET_S = 30.0
"""Time limit of the warm-up, and of the timed queries; slow methods are timed on fewer queries."""
FURTHER_S = 5.0
"""Time limit of further queries, for percentiles without a finite interval."""
Ask = Callable[[int], tuple[float, float]]
"""Answers the query of a row; returns the milliseconds of encoding and of searching it."""


class Timed(NamedTuple):
    encode_ms: Floats
    search_ms: Floats
    warmup: int
    queries: int
    """Number of distinct queries among the timed ones."""


def time_queries(
    ask: Ask,
    n_queries: int,
    *,
    seed: int,
    report: Callable[[int], None] = lambda done: None,
) -> Timed:
    """Time queries in an order that depends only on the seed, repeatedly if there are few.

    Timing starts with the query after the last one of the warm-up, so the queries of the warm-up
    are timed only after all others.

    Args:
        report: receives the number of timed queries after each.
    """
    rows = np.random.default_rng(seed).permutation(n_queries).tolist()
    turns = itertools.cycle(rows)
    warmup = len(_run_queries(ask, turns, min(WARMUP, (n_queries + 1) // 2), BUDGET_S))
    done = itertools.count(1)

    def timed(row: int) -> tuple[float, float]:
        taken = ask(row)
        report(next(done))
        return taken

    found = _run_queries(timed, turns, min(QUERIES, n_queries), BUDGET_S)
    end = time.monotonic() + FURTHER_S
    encode, search = np.array(found).T
    while 0 < (missing := further(encode, search)) * _pace_s(found) <= end - time.monotonic():
        found += _run_queries(timed, turns, missing, end - time.monotonic())
        encode, search = np.array(found).T
    return Timed(encode, search, warmup, min(len(found), n_queries))


def _run_queries(
    ask: Ask, turns: Iterator[int], n: int, limit_s: float
) -> list[tuple[float, float]]:
    """Run the next `n` queries, or those that start within the time limit, but at least one."""
    end, taken = time.monotonic() + limit_s, []
    for row in itertools.islice(turns, n):
        taken.append(ask(row))
        if time.monotonic() > end:
            break
    return taken


def _pace_s(found: list[tuple[float, float]]) -> float:
    """Return the mean seconds per query."""
    return float(np.sum(found)) / len(found) / 1e3
