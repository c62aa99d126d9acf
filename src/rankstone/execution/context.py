"""The `Context` an index is built in (see `rankstone.runners.protocols`)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from rankstone.execution.cache import EncodingCache
from rankstone.profiling.clock import Clock
from rankstone.runners.protocols import Chunks, Runner

Rep = TypeVar("Rep")


@dataclass(kw_only=True)
class CellContext:
    """One cell's context. It holds no test query, so none can be learnt from."""

    texts: Sequence[str]
    train_queries: Sequence[str]
    seed: int
    threads: int
    device: str
    work: Path
    clock: Clock
    cache: EncodingCache

    def phase(self, name: str, items: int = 0) -> AbstractContextManager[None]:
        return self.clock.phase(name, items)

    def encoded(self, runner: Runner[Rep]) -> Chunks[Rep]:
        return self.cache.chunks(runner)
