"""Work that encoders report, and its share of the machine's peak rate."""

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
    """Sum of the reported work; calls `listener` with the number of texts after every report."""

    listener: Callable[[int], None]
    work: Work = field(default_factory=Work)

    def __call__(self, work: Work) -> None:
        self.work = self.work.plus(work)
        self.listener(self.work.texts)

    @property
    def tokens(self) -> int | None:
        return self.work.tokens or None

    @property
    def flops(self) -> float | None:
        return self.work.flops or None

    @property
    def billed_tokens(self) -> int | None:
        return self.work.billed_tokens or None

    @property
    def usd(self) -> float | None:
        return self.work.usd or None

    def charged(self) -> dict[str, Any]:
        """Return the arguments with which a clock charges a phase."""
        names = ("tokens", "flops", "billed_tokens", "usd")
        return {name: getattr(self, name) for name in names}


@contextlib.contextmanager
def metered(
    clock: Clock, phase: str, items: int, listener: Callable[[int], None] = lambda texts: None
) -> Iterator[Meter]:
    """Charge the block to `phase`, with the work that encoders report within it."""
    meter = Meter(listener)
    with clock.phase(phase, items=items):
        try:
            with listening(meter):
                yield meter
        finally:
            clock.add_work(phase, **meter.charged())


class Kernel(NamedTuple):
    """Precision and kind of device, which determine the peak rate."""

    precision: str | None
    device: str

    @classmethod
    def of(cls, described: Mapping[str, Any]) -> Kernel:
        """Read a runner's description: `precision`, else the `dtype` of its weights."""
        precision = described.get("precision") or PRECISIONS.get(described.get("dtype", ""))
        return cls(precision, str(described.get("device") or "cpu"))

    def peak(self) -> float | None:
        """Measure the peak FLOP/s now; None if that is not possible."""
        return matmul_peak(self.precision, self.device) if self.precision else None


class Efficiency(NamedTuple):
    peak_flops_per_s: float | None = None
    flop_utilisation: float | None = None


def efficiency(costs: Sequence[Cost], *, hardware: str | None) -> Efficiency:
    """Return the efficiency of the shards filled by one kernel; unknown if any is from
    elsewhere."""
    counted = [cost for cost in costs if cost.flops]
    peaks = [cost.peak_flops_per_s for cost in counted if cost.peak_flops_per_s]
    if not peaks or len(peaks) < len(counted) or {cost.hardware for cost in counted} != {hardware}:
        return Efficiency()
    peak = statistics.median(peaks)
    flops = sum(cost.flops or 0.0 for cost in counted)
    return Efficiency(peak, flops / sum(cost.wall_s for cost in counted) / peak)
