"""For benches on a CUDA device: its presence, times with all work done, and its peak."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

ROUNDS = 3


def present() -> bool:
    """True where there is a CUDA device; torch is imported only where there is a trace of one."""
    if not any(Path(trace).exists() for trace in ("/dev/nvidiactl", "/dev/dxg")):
        return False
    import torch

    return torch.cuda.is_available()


def seconds(action: Callable[[], object]) -> float:
    import torch

    torch.cuda.synchronize()
    started = time.perf_counter()
    action()
    torch.cuda.synchronize()
    return time.perf_counter() - started


def compared(peer: Callable[[], object], own: Callable[[], object]) -> tuple[float, float]:
    """(time of `peer` / time of `own`, seconds of `own`): medians of interleaved rounds."""
    pairs = [(seconds(peer), seconds(own)) for _ in range(ROUNDS + 1)][1:]  # the first warms up
    return statistics.median(p / o for p, o in pairs), statistics.median(o for _, o in pairs)


def share_of_peak(flops: float, elapsed: float, precision: str) -> float:
    """Rate of the work over that of a product of two large matrices."""
    from rankstone.profiling.peak_flops import matmul_peak

    return flops / elapsed / (matmul_peak(precision, "cuda") or float("nan"))
