"""Exact search against one faiss.IndexFlatIP over the same vectors.

500 queries, 1,000,000 vectors of 384 dimensions, k = 1,000. Ours reads the vectors from a file,
mapped block by block; faiss has them in memory.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from rankstone.profiling.memory import peak_rss, reset_peak_rss
from rankstone.runners.search.exact.flat import BLOCK_BYTES, ExactIndex, Mapped

N, DIM, K, N_QUERIES = 1_000_000, 384, 1000, 500
ROUNDS = 5
HIT_BYTES = 12
"""A position and a score."""


def lines() -> Iterator[str]:
    """The time of a search, and its memory beyond what is there before."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vectors.f32"
        write(path)
        # Each in a process of its own: the memory that a peer has used would hide ours.
        for measure, name, goal, peer in (
            ("time", "exact_search_time", "1.1", "faiss.IndexFlatIP"),
            ("memory", "exact_search_memory", "1.0", "block_buffers"),
        ):
            command = [sys.executable, __file__, measure, str(path)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            ratio = json.loads(done.stdout)
            yield f"speed {name} ratio={ratio:.3f} goal=<={goal} peer={peer}"


def write(path: Path) -> None:
    rng = np.random.default_rng(0)
    with path.open("wb") as file:
        for start in range(0, N, 50_000):
            file.write(unit(rng, min(50_000, N - start)).data)


def unit(rng: np.random.Generator, n: int) -> np.ndarray:
    vectors = rng.standard_normal((n, DIM), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def opened(path: Path) -> tuple[ExactIndex, np.ndarray]:
    queries = unit(np.random.default_rng(1), N_QUERIES)
    return ExactIndex(Mapped(path, N, DIM), dim=DIM), queries


def time_ratio(path: Path) -> float:
    """Median of the ratios of interleaved rounds."""
    import faiss

    index, queries = opened(path)
    peer = faiss.IndexFlatIP(DIM)
    peer.add(np.fromfile(path, dtype=np.float32).reshape(N, DIM))
    ratios = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        peer.search(queries, K)
        between = time.perf_counter()
        index.search(queries, K)
        ratios.append((time.perf_counter() - between) / (between - started))
    return statistics.median(ratios)


def memory_ratio(path: Path) -> float:
    """Peak resident bytes above those before the search, over the bytes of the block buffers.

    The buffers are one block of vectors and, per query, the k hits of the block, those kept so far,
    those returned, and the 2 k among which faiss selects. A small search ran before, so that
    libraries are loaded.
    """
    index, queries = opened(path)
    ExactIndex.build([np.ones((20_000, DIM), dtype=np.float32)]).search(queries, 10)
    reset_peak_rss()
    before = peak_rss()
    index.search(queries, K)
    after = peak_rss()
    if before is None or after is None:
        raise RuntimeError("the kernel shows no high-water mark here")
    buffers = BLOCK_BYTES + 5 * N_QUERIES * K * HIT_BYTES
    return (after - before) / buffers


if __name__ == "__main__":
    measures = {"time": time_ratio, "memory": memory_ratio}
    sys.stdout.write(json.dumps(measures[sys.argv[1]](Path(sys.argv[2]))))
