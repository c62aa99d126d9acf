"""Events from a cell's process to its parent: one JSON object per line.

{"event": "progress", "name": ..., "done": ..., "total": ...}   see `rankstone.progress`
{"event": "result", "body": ...}                                the measured part of the record
{"event": "sample", "body": ...}                                the same of a sample
{"event": "error", "kind": ..., "message": ..., "traceback": ..., "phases": ...}
"""

from __future__ import annotations

import json
import os
import time
import traceback
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from rankstone.errors import AdapterError, RankstoneError

KINDS = ("progress", "result", "sample", "error")
BOOKKEEPING = "write results"
"""Name of the time after all phases, when results are written. Its memory is not a cost."""
UNDER_LOAD = "under load"
"""Name of the time when requests are sent; the memory that stores them is not a cost."""
PROGRESS_INTERVAL_S = 0.1
LONGEST_TEXT = 20_000
"""Maximum length of a message in characters."""
LONGEST_EVENT = 1 << 26
"""Maximum length of an event in bytes."""
WARNINGS = 100
"""Maximum number of library warnings in a record."""


def bounded(text: str) -> str:
    """Return `text` as a record can store it: with limited length, without lone surrogates."""
    left_out = len(text) - LONGEST_TEXT
    if left_out > 0:
        half = LONGEST_TEXT // 2
        text = f"{text[:half]} [{left_out:,} characters left out] {text[-half:]}"
    return text.encode("utf-8", "replace").decode()


class ElsewhereError(Exception):
    """An error of a method on another machine."""

    def __init__(self, kind: str, message: str, traceback: str | None) -> None:
        super().__init__(message)
        self.described = (kind, message, traceback)


def described(error: BaseException) -> tuple[str, str, str | None]:
    """Return kind, message and traceback of an error, whose own methods may fail.

    An error meant for the user has only a message.
    """
    if isinstance(error, ElsewhereError):
        return error.described
    kind = type(error).__name__
    try:
        message = str(error)
    except BaseException as fault:
        message = f"its text cannot be read ({type(fault).__name__})"
    if isinstance(error, RankstoneError):
        return bounded(kind), bounded(message), None
    trace = "".join(traceback.format_exception(error))
    return bounded(kind), bounded(f"{kind}: {message}"), bounded(trace)


def parsed(line: bytes) -> Mapping[str, Any] | None:
    """Return the event in `line`; None for other output that an adapter may have written."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) and event.get("event") in KINDS else None


class EventStream:
    """Writes events to a file descriptor; frequent progress of one phase is thinned out."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._process = os.getpid()
        self._last = ("", 0.0)

    def emit(self, event: Mapping[str, Any]) -> None:
        """Write an event; a copy of the process that an adapter forked ends here instead."""
        if os.getpid() != self._process:
            os._exit(1)
        data = f"\n{json.dumps(event)}\n".encode()  # separated from earlier output of an adapter
        if len(data) > LONGEST_EVENT:
            raise AdapterError(f"its description or its warnings take {len(data):,} bytes")
        while data:
            data = data[os.write(self._descriptor, data) :]

    def progress(self, name: str, done: int, total: int | None) -> None:
        """Emit progress: at every start and end, and between them at most ten times per second."""
        if done:
            now, (last, since) = time.monotonic(), self._last
            if name == last and done != total and now - since < PROGRESS_INTERVAL_S:
                return
            self._last = (name, now)
        self.emit({"event": "progress", "name": name, "done": done, "total": total})


def messages(caught: Sequence[warnings.WarningMessage]) -> list[str]:
    """Return the distinct warnings, as a record stores them."""
    found = list(dict.fromkeys(bounded(f"{w.category.__name__}: {w.message}") for w in caught))
    left_out = len(found) - WARNINGS
    more = [f"{left_out:,} more warnings are left out"] if left_out > 0 else []
    return found[:WARNINGS] + more
