"""Encodes once what is there twice, and hears what encoders tell of their work."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rankstone.profiling.clock import Clock
from rankstone.runners.meter import Work, listening
from rankstone.runners.protocols import AnyRunner, Role
from rankstone.runners.representations.base import take


@dataclass
class Meter:
    """The work reported so far; `told` is called after every report with the texts done."""

    told: Callable[[int], None] = lambda texts: None
    work: Work = field(default_factory=Work)

    def __call__(self, work: Work) -> None:
        self.work = self.work.plus(work)
        self.told(self.work.texts)

    @property
    def tokens(self) -> int | None:
        return self.work.tokens or None

    @property
    def flops(self) -> float | None:
        return self.work.flops or None


@contextlib.contextmanager
def metered(
    clock: Clock, phase: str, items: int, told: Callable[[int], None] = lambda texts: None
) -> Iterator[Meter]:
    """Charge the block to `phase`, with whatever work encoders report inside it."""
    meter = Meter(told)
    with clock.phase(phase, items=items):
        try:
            with listening(meter):
                yield meter
        finally:
            clock.add_work(phase, tokens=meter.tokens, flops=meter.flops)


def encode_distinct(runner: AnyRunner, texts: Sequence[str], role: Role) -> Any:
    """Representations of `texts`, one each, in order; identical texts are encoded once.

    Only where encoding is dear: cheap representations need not know how to be taken from.
    """
    places: dict[str, int] = {}
    rows = [places.setdefault(text, len(places)) for text in texts]
    if not runner.cacheable or len(places) == len(rows):
        return runner.encode(texts, role)
    return take(runner.encode(list(places), role), np.array(rows, dtype=np.int64))
