"""Random unit vectors for benches, made anew each time they are read."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

DIM, PIECE = 384, 20_000


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
