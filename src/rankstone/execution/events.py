"""Events from a cell's process to its parent: one JSON object per line.

{"event": "progress", "name": ..., "done": ..., "total": ...}   see `rankstone.progress`
{"event": "result", "body": ...}                                the measured part of the record
{"event": "error", "kind": ..., "message": ..., "traceback": ..., "phases": ...}
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from typing import Any

PROGRESS_INTERVAL_S = 0.1


class EventStream:
    """Writes events to a file descriptor; frequent progress of one phase is thinned out."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._last = ("", 0.0)

    def emit(self, event: Mapping[str, Any]) -> None:
        data = (json.dumps(event, allow_nan=False) + "\n").encode()
        while data:
            data = data[os.write(self._descriptor, data) :]

    def progress(self, name: str, done: int, total: int | None) -> None:
        """Emit progress; every beginning and every end, and between them ten times a second."""
        if done:
            now, (last, since) = time.monotonic(), self._last
            if name == last and done != total and now - since < PROGRESS_INTERVAL_S:
                return
            self._last = (name, now)
        self.emit({"event": "progress", "name": name, "done": done, "total": total})
