"""Exact search against one faiss.IndexFlatIP over the same vectors.

500 queries, 1,000,000 vectors of 384 dimensions, k = 1,000. Ours reads the vectors from a file,
mapped block by block, or has them in memory in 16-bit floats or 8-bit integers; faiss has them in
memory. Single queries (k = 100) over resident vectors of 256 and 768 dimensions in each width,
beside faiss in float32 and beside one pass by all cores over the memory that ours holds.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from rankstone.profiling.machine import usable_cores
from rankstone.profiling.memory import peak_rss, reset_peak_rss
from rankstone.runners.search.exact.flat import BLOCK_BYTES, ExactIndex, Mapped
from rankstone.runners.search.quantisation.scalar import RoundedIndex, Storage, codes_of

N, DIM, K, N_QUERIES = 1_000_000, 384, 1000, 500
ROUNDS, SINGLE_ROUNDS = 5, 22
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
        for storage in ("float16", "int8"):
            command = [sys.executable, __file__, storage, str(path)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            name, ratio = f"exact_search_{storage}_time", json.loads(done.stdout)
            yield f"speed {name} ratio={ratio:.3f} goal=<=1.1 peer=faiss.IndexFlatIP"
    for dim, storage in product((256, 768), ("float32", "float16", "int8")):
        command = [sys.executable, __file__, "single", str(dim), storage]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        of_faiss, of_pass = json.loads(done.stdout)
        name = f"exact_search_single_{dim}_{storage}"
        yield f"speed {name} ratio={of_faiss:.3f} goal=<=1.15 peer=faiss.IndexFlatIP"
        yield f"speed {name}_memory ratio={of_pass:.3f} goal=<=1.5 peer=one_pass_over_memory"


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


def time_ratio(path: Path, storage: Storage | None = None) -> float:
    """Median of the ratios of interleaved rounds."""
    import faiss

    index: Any
    index, queries = opened(path)
    if storage is not None:
        index = RoundedIndex.build(Mapped(path, N, DIM), storage, path.parent)
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


def single_ratios(dim: str, storage: str) -> tuple[float, float]:
    """Medians of the ratios of a single query to faiss and to a pass over what the index holds."""
    import faiss

    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((N, int(dim)), dtype=np.float32)
    queries = rng.standard_normal((SINGLE_ROUNDS, int(dim)), dtype=np.float32)
    peer = faiss.IndexFlatIP(int(dim))
    peer.add(vectors)
    index: Any
    if storage == "float32":
        index = ExactIndex.build(vectors)
        parts = np.array_split(vectors.reshape(-1), usable_cores())
    else:
        index = RoundedIndex.build(OnePiece([vectors]), storage, Path())  # type: ignore[arg-type]
        del vectors
        parts = [codes_of(part).view(np.uint64) for part in index._slices]
    ratios = []
    with ThreadPoolExecutor(usable_cores()) as pool:
        for query in np.split(queries, SINGLE_ROUNDS):
            times = [time.perf_counter()]
            for work in (
                lambda: index.search(query, 100),  # noqa: B023
                lambda: peer.search(query, 100),  # noqa: B023
                lambda: list(pool.map(np.max, parts)),
            ):
                work()
                times.append(time.perf_counter())
            ours, faiss_s, pass_s = np.diff(times)
            ratios.append((ours / faiss_s, ours / pass_s))
    of_faiss, of_pass = np.median(ratios[2:], axis=0)
    return float(of_faiss), float(of_pass)


class OnePiece(list[np.ndarray]):
    def __len__(self) -> int:
        return sum(len(piece) for piece in iter(self))


def memory_ratio(path: Path) -> float:
    """Peak resident bytes above those before the search, over the bytes of the block buffers.

    The buffers are one block of vectors and, per query, the k hits of the block, those kept so far,
    those returned, and the 2 k among which faiss selects. A small search ran before, so that
    libraries are loaded.
    """
    index, queries = opened(path)
    ExactIndex.build(np.ones((20_000, DIM), dtype=np.float32)).search(queries, 10)
    reset_peak_rss()
    before = peak_rss()
    index.search(queries, K)
    after = peak_rss()
    if before is None or after is None:
        raise RuntimeError("the kernel shows no high-water mark here")
    buffers = BLOCK_BYTES + 5 * N_QUERIES * K * HIT_BYTES
    return (after - before) / buffers


if __name__ == "__main__":
    measures: dict[str, Callable[[Path], float]] = {
        "time": time_ratio,
        "memory": memory_ratio,
        "float16": lambda path: time_ratio(path, "float16"),
        "int8": lambda path: time_ratio(path, "int8"),
    }
    if sys.argv[1] == "single":
        sys.stdout.write(json.dumps(single_ratios(*sys.argv[2:4])))
    else:
        sys.stdout.write(json.dumps(measures[sys.argv[1]](Path(sys.argv[2]))))
