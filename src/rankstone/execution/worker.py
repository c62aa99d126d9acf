"""Process of a cell: reads a `Job` from standard input, streams events to standard output.

Started by `rankstone.execution.process` as ``python -m rankstone.execution.worker``. The output of
libraries goes to standard error, which the parent keeps for the record of a failure.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
import traceback

from rankstone.errors import RankstoneError
from rankstone.execution.events import EventStream


def main() -> int:
    """Run the job; return 0 if it was measured, 1 if an error was reported."""
    events = EventStream(os.dup(sys.stdout.fileno()))
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    text = sys.stdin.readline()
    threading.Thread(target=_die_with_parent, daemon=True).start()

    from rankstone.execution.cell import CellRun
    from rankstone.execution.job import Job

    gc.set_threshold(100_000, 50, 100)  # millions of objects live as long as the cell
    cell = CellRun(Job.model_validate_json(text), events)
    try:
        events.emit({"event": "result", "body": cell.run().model_dump(mode="json")})
    except Exception as error:
        known = isinstance(error, RankstoneError)
        events.emit(
            {
                "event": "error",
                "kind": "oom" if isinstance(error, MemoryError) else "failed",
                "type": type(error).__name__,
                "message": str(error) if known else f"{type(error).__name__}: {error}",
                "traceback": traceback.format_exc(),
                "phases": {name: p.model_dump() for name, p in cell.clock.phases().items()},
            }
        )
        return 1
    return 0


def _die_with_parent() -> None:
    """Exit when standard input ends: the parent holds it open as long as it lives."""
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
