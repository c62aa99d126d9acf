"""Draws the preparation of a collection: a bar with rate and time left; plain lines in a log."""

from __future__ import annotations

import time

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, TaskID, TextColumn

PLAIN_INTERVAL_S = 10.0
COUNTED = ("documents", "queries", "judgements")
"""What the store counts; whatever else is reported is a download, in bytes."""


class Preparing:
    """Progress on `console` (standard error): `draw` is a `rankstone.benchmarks` `Progress`."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[figures]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._bar: TaskID | None = None
        self._what, self._done = "", 0
        self._began = self._told = 0.0

    def __enter__(self) -> Preparing:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def draw(self, what: str, done: int, total: int | None) -> None:
        """Show that of `what` so many are done, of `total` (None: not known)."""
        now = time.monotonic()
        if what != self._what:
            self._begin(what, done, now)
        elapsed = now - self._began
        shown = figures(what, done, total, rate=(done - self._done) / elapsed if elapsed else 0.0)
        if self._bar is not None:
            self._bars.update(self._bar, completed=done, total=total, figures=shown)
        if not self._console.is_terminal and now - self._told >= PLAIN_INTERVAL_S:
            self._told = now
            self._console.print(f"{what}: {shown}", highlight=False, soft_wrap=True)

    def _begin(self, what: str, done: int, now: float) -> None:
        if self._bar is not None:
            self._bars.remove_task(self._bar)
        self._bar = self._bars.add_task(what, total=None, figures="")
        # A download that goes on begins where it stopped: that much took no time.
        self._what, self._done, self._began, self._told = what, done, now, now


def figures(what: str, done: int, total: int | None, *, rate: float) -> str:
    """`"2,000/5,183  812/s  4 s left"`; bytes as such; nothing is said of what is not known."""
    counted = what.endswith(COUNTED)
    parts = [f"{done:,}" if counted else decimal(done)]
    if total is not None:
        parts[0] += f"/{total:,}" if counted else f"/{decimal(total)}"
    if rate > 0:
        parts.append(f"{rate:,.0f}/s" if counted else f"{decimal(int(rate))}/s")
        if total is not None and total >= done:
            parts.append(f"{duration((total - done) / rate)} left")
    return "  ".join(parts)


def duration(seconds: float) -> str:
    """`4 s`, `3:07 min`, `2:05 h`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02} h"
