"""The work that encoders report, and how near they come to the peak of their machine."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from rankstone.encodings.shards import Cost
from rankstone.profiling.clock import Clock
from rankstone.profiling.peak_flops import matmul_peak
from rankstone.runners.meter import Work, listening

PRECISIONS = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}


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


class Kernel(NamedTuple):
    """What decides a peak: at which precision, on which kind of device."""

    precision: str | None
    device: str

    @classmethod
    def of(cls, described: Mapping[str, Any]) -> Kernel:
        """As a runner describes itself: `precision`, or else the `dtype` of its weights."""
        precision = described.get("precision") or PRECISIONS.get(described.get("dtype", ""))
        return cls(precision, str(described.get("device") or "cpu"))

    def peak(self) -> float | None:
        """FLOP/s, measured now; None where it cannot be."""
        return matmul_peak(self.precision, self.device) if self.precision else None


class Efficiency(NamedTuple):
    peak_flops_per_s: float | None = None
    flop_utilisation: float | None = None


def efficiency(costs: Sequence[Cost], *, place: str | None) -> Efficiency:
    """Of the shards that one kind of kernel filled; unknown if any was filled elsewhere."""
    counted = [cost for cost in costs if cost.flops]
    peaks = [cost.peak_flops_per_s for cost in counted if cost.peak_flops_per_s]
    if not peaks or len(peaks) < len(counted) or {cost.place for cost in counted} != {place}:
        return Efficiency()
    peak = statistics.median(peaks)
    flops = sum(cost.flops or 0.0 for cost in counted)
    return Efficiency(peak, flops / sum(cost.wall_s for cost in counted) / peak)
