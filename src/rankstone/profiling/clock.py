"""Self time and memory per phase.

Phases nest: a lazily encoded chunk read inside `index` is charged to `encode_documents`, not to
`index`. Wall time is `time.perf_counter`, CPU time is that of this process and all its threads.
The peak resident size of a phase is exact on Linux, where the kernel's high-water mark can be
reset (`/proc/self/clear_refs`); elsewhere it is unknown.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rankstone.results.record import Phase


@dataclass
class _Tally:
    wall_s: float = 0.0
    cpu_s: float = 0.0
    items: int = 0
    cached_items: int = 0
    peak_rss_bytes: int | None = None


class Clock:
    """Accumulates phases. `listen` is told the name of the phase that is entered or returned to."""

    def __init__(self, listen: Callable[[str], None] = lambda _: None) -> None:
        self._tallies: dict[str, _Tally] = {}
        self._stack: list[str] = []
        self._since = (0.0, 0.0)
        self._paused = False
        self._listen = listen

    @contextlib.contextmanager
    def phase(self, name: str, items: int = 0) -> Iterator[None]:
        """Charge the block to `name`; whatever phase was running waits."""
        if self._paused:
            yield
            return
        self._settle()
        self._stack.append(name)
        self._tallies.setdefault(name, _Tally()).items += items
        self._listen(name)
        try:
            yield
        finally:
            self._settle()
            self._stack.pop()
            if self._stack:
                self._listen(self._stack[-1])

    @contextlib.contextmanager
    def pause(self) -> Iterator[None]:
        """Charge the block to no phase, nor to any that is entered inside it."""
        self._settle()
        stack, self._stack, was_paused, self._paused = self._stack, [], self._paused, True
        try:
            yield
        finally:
            self._settle()
            self._stack, self._paused = stack, was_paused

    @property
    def paused(self) -> bool:
        """Whether nothing is charged at present."""
        return self._paused

    def add_cached(
        self, name: str, items: int, *, wall_s: float, cpu_s: float, peak_rss_bytes: int | None
    ) -> None:
        """Charge what `items` read from a cache cost the run that filled it."""
        tally = self._tallies.setdefault(name, _Tally())
        tally.items += items
        tally.cached_items += items
        tally.wall_s += wall_s
        tally.cpu_s += cpu_s
        tally.peak_rss_bytes = _larger(tally.peak_rss_bytes, peak_rss_bytes)

    def phases(self) -> dict[str, Phase]:
        """What has been charged so far, in the order of first entry."""
        self._settle()
        return {
            name: Phase(
                wall_s=tally.wall_s,
                cpu_s=tally.cpu_s,
                items=tally.items,
                peak_rss_bytes=tally.peak_rss_bytes,
                from_cache=tally.cached_items / tally.items if tally.cached_items else 0.0,
            )
            for name, tally in self._tallies.items()
        }

    def _settle(self) -> None:
        """Charge the time since the last change to the running phase, and start anew."""
        now = (time.perf_counter(), time.process_time())
        if self._stack:
            tally = self._tallies[self._stack[-1]]
            tally.wall_s += now[0] - self._since[0]
            tally.cpu_s += now[1] - self._since[1]
            tally.peak_rss_bytes = _larger(tally.peak_rss_bytes, peak_rss())
        reset_peak_rss()
        self._since = (time.perf_counter(), time.process_time())


def peak_rss() -> int | None:
    """Bytes of the resident high-water mark since the last reset; None where unknown."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return None


def reset_peak_rss() -> None:
    """Lower the high-water mark to what is resident now, where the kernel allows it."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _larger(a: int | None, b: int | None) -> int | None:
    return max((value for value in (a, b) if value is not None), default=None)
