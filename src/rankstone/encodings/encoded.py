"""Base class of encoded corpora: iteration, and access by position."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rankstone.runners.protocols import AnyRunner, Truncation
from rankstone.runners.representations.base import concatenate, take


class EncodedCorpus:
    """Base class of lazy and sharded chunks: iteration, and access by position."""

    truncation: Truncation | None

    def __init__(self, n: int, runner: AnyRunner, size: int) -> None:
        """Set the number of documents, their encoder, and the number of documents per part."""
        self._n = n
        self._runner = runner
        self._size = size
        self._n_parts = -(-self._n // self._size)

    def __len__(self) -> int:
        return self._n

    def __iter__(self) -> Iterator[Any]:
        for part in range(self._n_parts):
            yield self._part(part)

    def take(self, positions: NDArray[np.int64]) -> Any:
        """Return representations at `positions`, in that order; only their parts are opened."""
        positions = np.asarray(positions, dtype=np.int64)
        if not len(positions):
            return self._runner.encode([], "document")
        order = np.argsort(positions, kind="stable")
        parts, starts = np.unique(positions[order] // self._size, return_index=True)
        taken = [
            take(self._part(int(part)), rows - part * self._size)
            for part, rows in zip(parts, np.split(positions[order], starts[1:]), strict=True)
        ]
        return take(concatenate(taken), np.argsort(order, kind="stable"))

    def sample(self, n: int, seed: int) -> Any:
        """Return `n` distinct random documents, or all if there are fewer, in corpus order."""
        rng = np.random.default_rng(seed)
        chosen = rng.choice(self._n, size=min(n, self._n), replace=False, shuffle=False)
        return self.take(np.sort(chosen))

    def part(self, number: int) -> Any:
        """Return the representations of one part: a shard, if the corpus is stored in shards."""
        return self._part(number)

    def _part(self, part: int) -> Any:
        raise NotImplementedError

    def _bounds(self, part: int) -> tuple[int, int]:
        return part * self._size, min((part + 1) * self._size, self._n)
