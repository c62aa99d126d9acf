"""Processor time of other processes during a measurement."""

from __future__ import annotations

import time
from typing import NamedTuple

import psutil

SHORTEST_S = 0.2
"""Seconds below which the kernel's clock ticks are too coarse."""


class Reading(NamedTuple):
    """CPU seconds of the whole machine, and of this process and its children, at one time."""

    at: float
    machine_s: float
    own_s: float

    @classmethod
    def now(cls) -> Reading:
        times = psutil.cpu_times()
        idle = times.idle + getattr(times, "iowait", 0.0)
        guests = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
        own = sum(map(_seconds, [psutil.Process(), *psutil.Process().children(recursive=True)]))
        return cls(time.monotonic(), sum(times) - idle - guests, own)

    def others_cores(self, later: Reading) -> float | None:
        """Return the number of cores that other processes kept busy until `later`; None if unknown.

        Linux includes guests in user time. If the machine was far less busy than this process, the
        counters of its kernel are unusable.
        """
        wall, own = later.at - self.at, later.own_s - self.own_s
        busy = later.machine_s - self.machine_s
        if wall < SHORTEST_S or busy < own / 2:
            return None
        return max(0.0, busy - own) / wall


def _seconds(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.Error:  # the process has ended
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)
