"""For benches of indexes: random unit vectors, made anew each time they are read, and ratios."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

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
    one: Callable[[Any], object],
    other: Callable[[Any], object],
    parts: list[Any],
    rounds: int = ROUNDS,
) -> float:
    """The time of `one` by that of `other`: the median of interleaved rounds, which take turns in
    who is first."""
    ratios = []
    for number in range(rounds + 1):
        took = {}
        for side in (one, other) if number % 2 else (other, one):
            started = time.perf_counter()
            for part in parts:
                side(part)
            took[side] = time.perf_counter() - started
        ratios.append(took[one] / took[other])
    return statistics.median(ratios[1:])  # the first warms up
