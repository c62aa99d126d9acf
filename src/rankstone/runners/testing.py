"""Helpers for tests of adapters: an encoded corpus in memory, and a minimal context."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rankstone.runners.protocols import AnyRunner, Truncation
from rankstone.runners.representations.base import concatenate, take


@dataclass(frozen=True)
class MemoryChunks:
    """`texts` encoded by `runner`: in chunks of `chunk_size` on every iteration, and once for
    access by position."""

    runner: AnyRunner
    texts: Sequence[str]
    chunk_size: int = 16

    def __len__(self) -> int:
        return len(self.texts)

    def __iter__(self) -> Iterator[Any]:
        for start in range(0, len(self.texts), self.chunk_size):
            yield self.runner.encode(self.texts[start : start + self.chunk_size], "document")

    def take(self, positions: NDArray[np.int64]) -> Any:
        return take(self._whole, positions)

    @cached_property
    def _whole(self) -> Any:
        """All representations, cached because rescoring reads them once per query."""
        return concatenate(list(self))

    def sample(self, n: int, seed: int) -> Any:
        chosen = np.random.default_rng(seed).permutation(len(self))[:n]
        return self.take(np.sort(chosen))


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Relevant pairs, by query row and document position."""

    query: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    document: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def label(self) -> NDArray[np.int32]:
        return np.ones(len(self.query), dtype=np.int32)


class PlainIds(tuple[str, ...]):
    """Document ids in memory."""

    def positions(self, ids: Sequence[str]) -> NDArray[np.int64]:
        places = {name: place for place, name in enumerate(self)}
        return np.array([places.get(name, -1) for name in ids], dtype=np.int64)


@dataclass(kw_only=True)
class PlainContext:
    """A context over `texts` without timing and cache."""

    texts: Sequence[str]
    work: Path
    train_queries: Sequence[str] = ()
    train_judgements: Pairs = field(default_factory=Pairs)
    seed: int = 0
    threads: int = 1
    device: str = "cpu"
    columns: Mapping[str, Any] = field(default_factory=dict)
    names: Sequence[str] | None = None
    """Document ids; None: `d0`, `d1`, ... in the order of the texts."""
    phases: list[str] = field(default_factory=list)
    """Names of phases in the order of entry."""

    @property
    def ids(self) -> PlainIds:
        if self.names is not None:
            return PlainIds(self.names)
        return PlainIds(f"d{place}" for place in range(len(self.texts)))

    @contextlib.contextmanager
    def phase(self, name: str, items: int = 0) -> Iterator[None]:
        self.phases.append(name)
        yield

    def encoded(self, runner: AnyRunner) -> MemoryChunks:
        return MemoryChunks(runner, self.texts)

    def count_pairs(self, count: Callable[[], Truncation | None]) -> None:
        """Ignore truncation."""
