"""Available memory, and high-water marks of this process and of torch on its GPUs.

The resident peak can be reset on Linux (`/proc/self/clear_refs`); elsewhere it is unknown.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

import psutil

RESIDENT_SHARE = 0.5
"""Share of the available memory that an index may use."""
CGROUP = Path("/sys/fs/cgroup")


def peak_rss() -> int | None:
    """Return the resident high-water mark in bytes since the last reset; None if unknown."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return None


def reset_peak_rss() -> None:
    """Reset the high-water mark to the current resident size, if the kernel allows it."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_gpu() -> int | None:
    """Return the peak bytes of torch's tensors since the last reset, summed over all GPUs.

    None if torch is not loaded or finds no CUDA device; torch is never loaded by this function.
    """
    cuda = loaded_cuda()
    if cuda is None:
        return None
    return sum(int(cuda.max_memory_allocated(n)) for n in range(cuda.device_count()))


def reset_peak_gpu() -> None:
    """Reset the high-water mark of every GPU to the current allocation."""
    cuda = loaded_cuda()
    if cuda is not None and cuda.is_initialized():
        for n in range(cuda.device_count()):
            cuda.reset_peak_memory_stats(n)


def available() -> int:
    """Return the number of bytes that can be allocated without swapping, within the container's
    limit.

    The page cache counts as memory of the container, but is released on demand as on the machine.
    """
    free = int(psutil.virtual_memory().available)
    with contextlib.suppress(OSError, ValueError):  # no control group, or "max"
        limit = int((CGROUP / "memory.max").read_text())
        used = int((CGROUP / "memory.current").read_text()) - _files_read()
        free = min(free, max(limit - used, 0))
    return free


def _files_read() -> int:
    """Return the bytes of the control group's page cache, which the kernel releases on demand."""
    try:
        lines = map(str.split, (CGROUP / "memory.stat").read_text().splitlines())
    except OSError:
        return 0
    return sum(int(n) for name, n in lines if name in ("active_file", "inactive_file"))


def resident_limit() -> int:
    """Return the maximum size of an index that is loaded into memory instead of read from disk."""
    return int(available() * RESIDENT_SHARE)


def larger(a: int | None, b: int | None) -> int | None:
    """Return the larger of two peaks, either of which may be unknown."""
    return max((value for value in (a, b) if value is not None), default=None)


def loaded_cuda() -> Any | None:
    """Return `torch.cuda` if it is loaded and has a device; torch is never loaded here."""
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    return cuda if cuda is not None and cuda.is_available() else None
