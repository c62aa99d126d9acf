"""Process of a cell: reads a `Job` from standard input, writes events to standard output.

`rankstone.execution.process` starts it as ``python -m rankstone.execution.worker``, and ends it
when it has reported. The output of libraries goes to standard error, which the parent stores in the
record if the cell fails.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import threading
import time
import traceback
from pathlib import Path

from rankstone.execution.descendants import adopt_orphans, end_descendants
from rankstone.execution.events import EventStream, bounded, described
from rankstone.runners.search.engines.servers.removal import remove_left

LINGER_S = 60.0
"""Seconds for the parent to end a process that has reported."""


def main() -> None:
    """Report the measurement of the job, or the error that ended it, and wait to be ended."""
    events = EventStream(os.dup(sys.stdout.fileno()))
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr] # the process is killed
    text = sys.stdin.readline()
    adopt_orphans()
    staging = Path(json.loads(text)["staging"])
    watch = [_private_stdin(), staging]
    threading.Thread(target=_die_with_parent, args=watch, daemon=True).start()

    from rankstone.execution.cell import CellRun
    from rankstone.execution.forecasts.sampled_cell import SampledCell
    from rankstone.execution.job import Job

    gc.set_threshold(100_000, 50, 100)  # millions of objects live as long as the cell
    job = Job.model_validate_json(text)
    cell = SampledCell(job, events) if job.sample else CellRun(job, events)
    try:
        measured = cell.sample() if isinstance(cell, SampledCell) else cell.run()
        kind = "sample" if job.sample else "result"
        events.emit({"event": kind, "body": measured.model_dump(mode="json")})
    except BaseException as error:  # includes SystemExit, and panics of Rust libraries
        kind, message, trace = described(error)
        events.emit(
            {
                "event": "error",
                "kind": "oom" if isinstance(error, MemoryError) else "failed",
                "type": kind,
                "message": message,
                "traceback": trace or bounded("".join(traceback.format_tb(error.__traceback__))),
                "phases": {name: p.model_dump() for name, p in cell.clock.phases().items()},
            }
        )
    time.sleep(LINGER_S)
    os._exit(1)


def _private_stdin() -> int:
    """Return a descriptor that processes of the adapter do not inherit; their input is empty."""
    descriptor = os.dup(sys.stdin.fileno())
    with Path(os.devnull).open() as nothing:
        os.dup2(nothing.fileno(), sys.stdin.fileno())
    return descriptor


def _die_with_parent(stdin: int, staging: Path) -> None:
    """Exit when standard input ends: the parent keeps it open as long as it lives."""
    while os.read(stdin, 1 << 16):
        pass
    end_descendants(os.getpid())
    remove_left(staging)
    os._exit(1)


if __name__ == "__main__":
    main()
