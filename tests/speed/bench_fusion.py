"""Reciprocal-rank fusion of two runs as deep as MS MARCO's, against one second.

6,980 queries, 1,000 documents each of 8,841,823 by either member, about a third of them by both.
Seconds are those of one core's work, so that a busy machine does not count against it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

import numpy as np

from rankstone.runners.compose.fusion import fuse

N_QUERIES, DEPTH, N_DOCUMENTS, POOL = 6_980, 1_000, 8_841_823, 3_000
ROUNDS = 5


def rankings() -> list[np.ndarray]:
    """Each member's documents in an order of its own, drawn from one pool per query."""
    rng = np.random.default_rng(0)
    pool = rng.integers(0, N_DOCUMENTS - POOL, (N_QUERIES, POOL))
    pool = np.sort(pool, axis=1) + np.arange(POOL)  # distinct
    return [rng.permuted(pool, axis=1)[:, :DEPTH] for _ in range(2)]


def lines() -> Iterator[str]:
    members = rankings()
    seconds = []
    for _ in range(ROUNDS):
        started = time.process_time()
        fuse(members, rank_constant=60, k=DEPTH)
        seconds.append(time.process_time() - started)
    yield f"speed rrf ratio={statistics.median(seconds):.2f} goal=<=1 peer=one second"
