"""For benches of indexes: random unit vectors, made anew each time they are read, and ratios."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator

import numpy as np

DIM, PIECE, ROUNDS = 384, 20_000, 7


class Vectors:
    """`n` documents, as an index reads them: in pieces, or a sample of them."""

    def __init__(self, n: int) -> None:
        self._n = n

    def __len__(self) -> int:
        return self._n

    def __iter__(self) -> Iterator[np.ndarray]:
        for number, start in enumerate(range(0, self._n, PIECE)):
            yield unit(min(PIECE, self._n - start), number)

    def sample(self, n: int, seed: int) -> np.ndarray:
        # All are alike, so that any are a sample.
        return unit(min(n, self._n), seed)


def unit(n: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((n, DIM), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def queries(n: int) -> np.ndarray:
    return unit(n, 2**20)


def ratio_of(
    one: Callable[[np.ndarray], object],
    other: Callable[[np.ndarray], object],
    parts: list[np.ndarray],
) -> float:
    """The time of `one` by that of `other`: the median of interleaved rounds."""
    ratios = []
    for _ in range(ROUNDS + 1):
        started = time.perf_counter()
        for part in parts:
            one(part)
        between = time.perf_counter()
        for part in parts:
            other(part)
        ratios.append((between - started) / (time.perf_counter() - between))
    return statistics.median(ratios[1:])  # the first warms up
