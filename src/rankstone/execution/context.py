"""The `Context` in which an index is built (see `rankstone.runners.protocols`)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from rankstone.encodings.cache import EncodingCache
from rankstone.encodings.metering import metered
from rankstone.profiling.clock import Clock
from rankstone.progress import Progress, silent
from rankstone.runners.protocols import Chunks, DocumentIds, Judged, Runner, Truncation

Rep = TypeVar("Rep")


@dataclass(kw_only=True)
class CellContext:
    """Context of one cell. It contains no test queries, so an index cannot learn from them."""

    texts: Sequence[str]
    ids: DocumentIds
    queries_of_training: Sequence[str]
    judgements_of_training: Judged
    seed: int
    threads: int
    device: str
    work: Path
    clock: Clock
    cache: EncodingCache
    columns: Mapping[str, Any] = field(default_factory=dict)
    progress: Progress = silent
    pairs: Truncation | None = field(default=None, init=False)
    """Truncation by a scorer's limit of the pairs counted so far."""
    learnt: bool = field(default=False, init=False)
    """True if the index used training queries or their judgements."""
    fitted: bool = field(default=False, init=False)
    """True if the index was fitted to the corpus."""

    @property
    def train_queries(self) -> Sequence[str]:
        """Texts of the training split's queries; access sets `learnt` if there are any."""
        self.learnt |= len(self.queries_of_training) > 0
        return self.queries_of_training

    @property
    def train_judgements(self) -> Judged:
        """Judgements of the training split; access sets `learnt` if there are any."""
        self.learnt |= len(self.judgements_of_training.query) > 0
        return self.judgements_of_training

    @contextlib.contextmanager
    def phase(self, name: str, items: int = 0) -> Iterator[None]:
        """Charge the block to the phase, and report the work of encoders in it as progress."""

        def report(done: int) -> None:
            if items and not self.clock.paused:
                self.progress(name, min(done, items), items)

        self.fitted |= name == "train"
        with metered(self.clock, name, items, report):
            yield

    def encoded(self, runner: Runner[Rep]) -> Chunks[Rep]:
        return self.cache.chunks(runner)

    def count_pairs(self, count: Callable[[], Truncation | None]) -> None:
        """Count pairs only within a phase: the latency sample repeats the same queries."""
        if self.clock.paused:
            return
        with self.clock.pause():
            self.pairs = Truncation.add(self.pairs, count())
