"""Processes that a cell leaves behind: found and ended, including detached ones.

On Linux a cell's process adopts orphans, so that all processes below it are its descendants while
it lives. If it crashed, and on other systems, they are identified by its session, by a mark in the
environment, which processes inherit, and by earlier observations.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator

import psutil

MARK = "RANKSTONE_CELL"
"""Variable in the environment of a cell's processes."""
ROUNDS = 50
ROUND_S = 0.02
_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Make this process the parent of orphaned descendants; has no effect except on Linux."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_descendants(pid: int) -> None:
    """Kill all processes below the process `pid`."""
    _end(lambda: descendants(pid))


def end_process(
    child: subprocess.Popen[bytes], mark: str, seen: Iterable[psutil.Process] = ()
) -> None:
    """Kill `child`, the leader of a session, and all processes that it started under `mark`.

    Args:
        seen: observed descendants; some may have ended.
    """
    below = psutil.Process(child.pid) if child.poll() is None else None
    if below is not None:
        with contextlib.suppress(psutil.Error):
            below.suspend()  # so that it starts no further process
        _end(lambda: descendants(child.pid))
    child.kill()
    child.wait()
    if below is None or sys.platform != "linux":
        _end(lambda: [*seen, *_left(child.pid, mark)])


def descendants(pid: int) -> list[psutil.Process]:
    """Return all processes below the process `pid`; none if it has ended."""
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).children(recursive=True)
    return []


def _end(find: Callable[[], Iterable[psutil.Process]]) -> None:
    """Kill the processes found, repeatedly until none runs: a fork may escape one round."""
    for _ in range(ROUNDS):
        running = list(filter(_runs, find()))
        for process in running:
            with contextlib.suppress(psutil.Error):
                process.kill()
        if not running:
            return
        time.sleep(ROUND_S)


def _runs(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return process.status() != psutil.STATUS_ZOMBIE
    return False


def _left(session: int, mark: str) -> Iterator[psutil.Process]:
    """Yield the processes of a session, or with a mark in their environment."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if os.getsid(process.pid) == session or process.environ().get(MARK) == mark:
                yield process
