"""Utilisation of the GPU: the share of time in which it computes, sampled in every phase."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator

from rankstone.profiling.clock import Clock
from rankstone.profiling.device import kind
from rankstone.profiling.memory import loaded_cuda

PERIOD_S = 0.25


@contextlib.contextmanager
def sampled(clock: Clock, device: str) -> Iterator[None]:
    """Charge the phases of `clock` with the utilisation of a CUDA device during the block."""
    if kind(device) != "cuda":
        yield
        return
    ended = threading.Event()
    thread = threading.Thread(target=_sample, args=(clock, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _sample(clock: Clock, ended: threading.Event) -> None:
    while not ended.wait(PERIOD_S):
        if (share := utilisation()) is not None:
            clock.add_utilisation(share)


def utilisation() -> float | None:
    """Return the share of recent time in which kernels ran on the current device.

    None if torch has not used a CUDA device, the package nvidia-ml-py is not installed, or the
    driver does not report it.
    """
    cuda = loaded_cuda()
    if cuda is None or not cuda.is_initialized():
        return None
    try:
        return float(cuda.utilization()) / 100
    except (ImportError, RuntimeError):
        return None
    except getattr(sys.modules.get("pynvml"), "NVMLError", RuntimeError):
        return None
