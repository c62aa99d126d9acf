"""The `Context` an index is built in (see `rankstone.runners.protocols`)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from rankstone.encodings.cache import EncodingCache
from rankstone.encodings.metering import metered
from rankstone.profiling.clock import Clock
from rankstone.progress import Progress, silent
from rankstone.runners.protocols import Chunks, Judged, Runner, Truncation

Rep = TypeVar("Rep")


@dataclass(kw_only=True)
class CellContext:
    """One cell's context. It holds no test query, so none can be learnt from."""

    texts: Sequence[str]
    train_queries: Sequence[str]
    train_judgements: Judged
    seed: int
    threads: int
    device: str
    work: Path
    clock: Clock
    cache: EncodingCache
    progress: Progress = silent
    pairs: Truncation | None = field(default=None, init=False)
    """What a scorer's limit cut from the pairs counted so far."""

    @contextlib.contextmanager
    def phase(self, name: str, items: int = 0) -> Iterator[None]:
        """Charges what encoders report inside the block too, and shows it as progress."""

        def told(done: int) -> None:
            if items and not self.clock.paused:
                self.progress(name, min(done, items), items)

        with metered(self.clock, name, items, told):
            yield

    def encoded(self, runner: Runner[Rep]) -> Chunks[Rep]:
        return self.cache.chunks(runner)

    def count_pairs(self, count: Callable[[], Truncation | None]) -> None:
        """Counts only while a phase is charged: the latency sample asks the same queries again."""
        if self.clock.paused:
            return
        with self.clock.pause():
            counts = count()
        if counts is not None:
            self.pairs = (self.pairs or Truncation()).plus(counts)
