"""Receivers of the progress of a sweep, and one that prints plain lines for notebooks and logs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Protocol, TextIO

from rankstone.progress import unprinted
from rankstone.results.record import RunRecord

INTERVAL_S = 10.0


def in_notebook() -> bool:
    """Return True in a Jupyter kernel."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return type(shell).__name__ == "ZMQInteractiveShell"


class Reporter(Protocol):
    """Receiver of the events of a sweep: its cells, and the progress of preparing data."""

    def __call__(self, work: str, done: int, total: int | None, /) -> None:
        """Receive `rankstone.progress.Progress` of the current cell, or of its data."""

    def started(self, cell: str) -> None:
        """Receive the name of the cell that starts."""

    def finished(self, record: RunRecord, *, reused: bool, seconds: float) -> None:
        """Receive the record of the cell that ended."""


class Silent:
    """A reporter that reports nothing, the default of the Python API."""

    def __call__(self, work: str, done: int, total: int | None, /) -> None: ...
    def started(self, cell: str) -> None: ...
    def finished(self, record: RunRecord, *, reused: bool, seconds: float) -> None: ...


class Lines:
    """Print a line when each cell starts and ends, and its progress every ten seconds."""

    def __init__(self, out: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._out, self._clock, self._last, self._cell = out, clock, clock(), ""
        self._warned: set[str] = set()

    def __call__(self, work: str, done: int, total: int | None) -> None:
        now = self._clock()
        if now - self._last >= INTERVAL_S:
            self._last = now
            self._write(f"{self._cell}  {work} {done:,}" + (f" of {total:,}" if total else ""))

    def started(self, cell: str) -> None:
        self._cell, self._last = cell, self._clock()
        self._write(f"{cell} ...")

    def finished(self, record: RunRecord, *, reused: bool, seconds: float) -> None:
        how = "stored before" if reused else f"{seconds:.1f} s"
        self._write(f"{record!r}, {how}" + (f"; {record.failure()}" if record.error else ""))
        for warning in unprinted(record.warnings, self._warned):
            self._write(f"warning: {warning}")
        self._cell = ""

    def _write(self, line: str) -> None:
        self._out.write(f"{line}\n")
        self._out.flush()
