"""Exact MaxSim against the machine's own matrix products.

4,000 documents of 20 to 180 vectors of 128 dimensions, queries of 32 vectors, k = 1,000. The peer
is a product of two square matrices; a ratio of 1 would mean that maxima, sums and selection cost
nothing. Documents are laid out beforehand (`resident`), or read from float16 at each search.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator

import numpy as np

from rankstone.files import GIB
from rankstone.runners.representations.ragged import Ragged
from rankstone.runners.search.exact import maxsim
from rankstone.runners.search.exact.maxsim import MaxSimIndex

N, DIM, K, QUERY_LENGTH = 4000, 128, 1000, 32
SIDE = 2048
ROUNDS = 5


def lines() -> Iterator[str]:
    documents = Documents()
    for name, limit, n_queries, goal in (
        ("maxsim_batch", GIB, 50, "0.5"),
        ("maxsim_batch_streamed", 0, 50, "0.5"),
        ("maxsim_one_query", GIB, 1, "0.5"),
    ):
        maxsim.resident_limit = lambda limit=limit: limit  # type: ignore[assignment, misc]
        ratio = share(MaxSimIndex.build(documents), documents, n_queries)
        yield f"speed {name} ratio={ratio:.3f} goal=>={goal} peer=torch.matmul"


class Documents:
    """Unit vectors, in pieces as they come from shards."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        offsets = np.concatenate([[0], np.cumsum(rng.integers(20, 181, N))])
        self.rep = Ragged(unit(rng, offsets[-1]).astype(np.float16), offsets)

    def __len__(self) -> int:
        return N

    def __iter__(self) -> Iterator[Ragged]:
        for start in range(0, N, 1000):
            yield self.rep[start : start + 1000]


def unit(rng: np.random.Generator, n: int) -> np.ndarray:
    vectors = rng.standard_normal((n, DIM), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def share(index: MaxSimIndex, documents: Documents, n_queries: int) -> float:
    """Multiply-adds per second of the definition, over those of the peer: median of the rounds."""
    import torch

    vectors = unit(np.random.default_rng(1), n_queries * QUERY_LENGTH)
    queries = Ragged(vectors, np.arange(n_queries + 1) * QUERY_LENGTH)
    work = len(documents.rep.tokens) * len(vectors) * DIM
    square = torch.randn(SIDE, SIDE)
    ratios = []
    for _ in range(ROUNDS):
        peer = SIDE**3 / seconds(lambda: square @ square)
        ratios.append(work / seconds(lambda: index.search(queries, K)) / peer)
    return statistics.median(ratios)


def seconds(function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started
