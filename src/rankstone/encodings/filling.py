"""Encoding of one shard: its texts, except those in earlier shards, and the cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from rankstone.encodings.duplicates import Ids, encode_distinct
from rankstone.encodings.metering import metered
from rankstone.encodings.shards import Cost
from rankstone.profiling.clock import Clock
from rankstone.profiling.memory import peak_gpu, peak_rss
from rankstone.runners.protocols import AnyRunner, Truncation
from rankstone.runners.representations.base import concatenate, take

PHASE = "encode_documents"


class ShardWork(NamedTuple):
    """The texts of a shard, and which of them are already in earlier shards."""

    part: int
    texts: Sequence[str]
    rows: Ids
    """Rows of `texts` that are copied."""
    documents: Ids
    """Positions of the documents from which they are copied, one for each of `rows`."""

    @property
    def fresh(self) -> Ids:
        """Rows of `texts` that are encoded."""
        return np.setdiff1d(np.arange(len(self.texts)), self.rows)

    def whole(self, fresh: Any, copied: Callable[[Ids], Any]) -> Any:
        """Return representations of all texts: the `fresh` ones, and those that `copied` reads."""
        if not len(self.rows):
            return fresh
        reps = [copied(self.documents), *([] if fresh is None else [fresh])]
        order = np.argsort(np.concatenate([self.rows, self.fresh]))
        return take(concatenate(reps), order)


class Filled(NamedTuple):
    """Result of encoding a shard."""

    fresh: Any
    """Representations of the fresh rows; None if there are none."""
    cost: Cost
    truncation: Truncation | None
    """Counts over all texts of the shard."""


def fill(
    runner: AnyRunner,
    work: ShardWork,
    clock: Clock,
    *,
    hardware: str | None,
    report: Callable[[int], None] = lambda texts: None,
) -> Filled:
    """Encode the fresh texts of `work`, charged to `clock`; the cost contains no peak FLOP/s.

    Args:
        hardware: machine and threads, as in `Cost`.
        report: receives the number of texts encoded so far.
    """
    texts = [work.texts[row] for row in work.fresh] if len(work.rows) else work.texts
    with metered(clock, PHASE, len(work.texts), report) as meter:
        since = time.perf_counter(), time.process_time()
        fresh = encode_distinct(runner, texts, "document") if len(texts) else None
        spent = time.perf_counter() - since[0], time.process_time() - since[1]
        peaks = peak_rss(), peak_gpu()
    cost = Cost(
        *spent, *peaks, meter.tokens, meter.flops, None, hardware, meter.billed_tokens, meter.usd
    )
    with clock.pause():
        return Filled(fresh, cost, runner.truncation(work.texts, "document"))
