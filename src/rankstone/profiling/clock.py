"""Self time and memory per phase.

Phases nest: an encoded chunk that is computed lazily inside `index` is charged to
`encode_documents`, not to `index`. Wall time is `time.perf_counter`; CPU time is that of this
process with all its threads. A phase ends when the GPU has finished its work. Memory peaks come
from `rankstone.profiling.memory` and are reset at every change of phase.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import fmean

from rankstone.profiling.device import synchronise
from rankstone.profiling.memory import larger, peak_gpu, peak_rss, reset_peak_gpu, reset_peak_rss
from rankstone.progress import Progress, silent
from rankstone.results.record import Phase


@dataclass
class _Tally:
    wall_s: float = 0.0
    cpu_s: float = 0.0
    items: int = 0
    cached_items: int = 0
    peak_rss_bytes: int | None = None
    peak_gpu_bytes: int | None = None
    gpu_shares: list[float] = field(default_factory=list)
    tokens: int = 0
    flops: float = 0.0
    billed_tokens: int = 0
    usd: float = 0.0

    def add_work(
        self,
        tokens: int | None,
        flops: float | None,
        billed_tokens: int | None = None,
        usd: float | None = None,
    ) -> None:
        self.tokens += tokens or 0
        self.flops += flops or 0.0
        self.billed_tokens += billed_tokens or 0
        self.usd += usd or 0.0

    def add_peaks(self, rss: int | None, gpu: int | None) -> None:
        self.peak_rss_bytes = larger(self.peak_rss_bytes, rss)
        self.peak_gpu_bytes = larger(self.peak_gpu_bytes, gpu)


class Clock:
    """Accumulates phases; reports each phase that is entered or resumed to `progress`."""

    def __init__(self, progress: Progress = silent) -> None:
        self._tallies: dict[str, _Tally] = {}
        self._stack: list[str] = []
        self._since = (0.0, 0.0)
        self.paused = False
        """True while nothing is charged."""
        self._progress = progress

    @contextlib.contextmanager
    def phase(self, name: str, items: int = 0) -> Iterator[None]:
        """Charge the block to `name` instead of the enclosing phase."""
        if self.paused:
            yield
            return
        self._settle()
        self._stack.append(name)
        self._tallies.setdefault(name, _Tally()).items += items
        self._progress(name, 0, None)
        try:
            yield
        finally:
            self._settle()
            self._stack.pop()
            if self._stack:
                self._progress(self._stack[-1], 0, None)

    @contextlib.contextmanager
    def pause(self) -> Iterator[None]:
        """Charge the block to no phase, not even to phases that are entered inside it."""
        self._settle()
        stack, self._stack, was_paused, self.paused = self._stack, [], self.paused, True
        try:
            yield
        finally:
            self._settle()
            self._stack, self.paused = stack, was_paused

    def add_work(
        self,
        name: str,
        *,
        tokens: int | None,
        flops: float | None,
        billed_tokens: int | None = None,
        usd: float | None = None,
    ) -> None:
        """Count work that an encoder reported in the phase `name`, which has started."""
        if not self.paused:
            self._tallies[name].add_work(tokens, flops, billed_tokens, usd)

    def add_utilisation(self, share: float) -> None:
        """Count a sample of the GPU's utilisation in the running phase; thread-safe."""
        for name in self._stack[-1:]:
            self._tallies[name].gpu_shares.append(share)

    def add_cached(
        self,
        name: str,
        items: int,
        *,
        wall_s: float,
        cpu_s: float,
        peak_rss_bytes: int | None,
        peak_gpu_bytes: int | None = None,
        tokens: int | None = None,
        flops: float | None = None,
        billed_tokens: int | None = None,
        usd: float | None = None,
    ) -> None:
        """Charge `items` read from a cache with the cost of the run that filled the cache."""
        tally = self._tallies.setdefault(name, _Tally())
        tally.items += items
        tally.cached_items += items
        tally.wall_s += wall_s
        tally.cpu_s += cpu_s
        tally.add_work(tokens, flops, billed_tokens, usd)
        tally.add_peaks(peak_rss_bytes, peak_gpu_bytes)

    def phases(self) -> dict[str, Phase]:
        """Return everything charged so far, in the order of first entry."""
        self._settle()
        return {
            name: Phase(
                wall_s=tally.wall_s,
                cpu_s=tally.cpu_s,
                items=tally.items,
                peak_rss_bytes=tally.peak_rss_bytes,
                peak_gpu_bytes=tally.peak_gpu_bytes,
                gpu_utilisation=fmean(tally.gpu_shares) if tally.gpu_shares else None,
                tokens=tally.tokens or None,
                flops=tally.flops or None,
                billed_tokens=tally.billed_tokens or None,
                usd=tally.usd or None,
                from_cache=tally.cached_items / tally.items if tally.cached_items else 0.0,
            )
            for name, tally in self._tallies.items()
        }

    def _settle(self) -> None:
        """Charge the time since the last change to the running phase, and restart the timers."""
        synchronise()
        now = (time.perf_counter(), time.process_time())
        if self._stack:
            tally = self._tallies[self._stack[-1]]
            tally.wall_s += now[0] - self._since[0]
            tally.cpu_s += now[1] - self._since[1]
            tally.add_peaks(peak_rss(), peak_gpu())
        reset_peak_rss()
        reset_peak_gpu()
        self._since = (time.perf_counter(), time.process_time())
