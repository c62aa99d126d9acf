"""A new process for one cell: started, followed, limited, and always ended."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO, Any, cast

import psutil

from rankstone.execution.job import Job
from rankstone.progress import Progress
from rankstone.results.record import ErrorInfo, Measured, Phase, Status

POLL_S = 0.1
LOG_TAIL_BYTES = 4000
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of a cell; None is without limit."""

    timeout_s: float | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Result of a cell's process."""

    status: Status
    measured: Measured | None = None
    """The measured part of the record, if the status is ok."""
    error: ErrorInfo | None = None
    phases: Mapping[str, Phase] = field(default_factory=dict)
    """Phases charged before an error."""
    peak_rss_bytes: int | None = None
    """Largest resident size observed of the process and its children."""


def run_process(job: Job, limits: Limits, progress: Progress) -> Outcome:
    """Run `job` in a process of its own and pass its progress on.

    The process and its children never outlive the call, however it ends.
    """
    with tempfile.TemporaryFile() as log:
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "rankstone.execution.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=_environment(job),
            start_new_session=True,  # Ctrl-C reaches only the parent, which ends the child
        )
        watch = _Watch(child, limits, progress, log)
        try:
            return watch.outcome(job)
        finally:
            _kill(child)
            watch.close()


class _Watch:
    """Follower of a cell's process from its job to its outcome."""

    def __init__(
        self, child: subprocess.Popen[bytes], limits: Limits, progress: Progress, log: IO[bytes]
    ) -> None:
        self._child, self._limits, self._progress, self._log = child, limits, progress, log
        self._stdin = cast("IO[bytes]", child.stdin)
        self._stdout = cast("IO[bytes]", child.stdout)
        self._events: queue.SimpleQueue[Mapping[str, Any] | None] = queue.SimpleQueue()
        self._peak = self._last = 0
        self._phase = "start"
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def close(self) -> None:
        """Release the pipes of a process that has ended."""
        self._reader.join(timeout=5)
        for pipe in (self._stdin, self._stdout):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()

    def outcome(self, job: Job) -> Outcome:
        """Follow the process until it reports, dies, or exceeds a limit."""
        self._send(job)
        started = time.monotonic()
        while True:
            with contextlib.suppress(queue.Empty):
                event = self._events.get(timeout=POLL_S)
                if event is None:
                    return self._died()
                if event["event"] in ("result", "error"):
                    self._measure()
                    return self._reported(event)
                self._phase = event["name"]
                self._progress(event["name"], event["done"], event["total"])
            if stop := self._limit_reached(time.monotonic() - started):
                return stop

    def _send(self, job: Job) -> None:
        """Send the job and keep the pipe open: it ends for the child when the parent is gone."""
        with contextlib.suppress(BrokenPipeError):  # _died reports a child that died at once
            self._stdin.write(job.model_dump_json().encode() + b"\n")
            self._stdin.flush()

    def _read(self) -> None:
        for line in self._stdout:
            with contextlib.suppress(json.JSONDecodeError):
                self._events.put(json.loads(line))
        self._events.put(None)

    def _limit_reached(self, elapsed_s: float) -> Outcome | None:
        resident = self._measure()
        if self._limits.timeout_s is not None and elapsed_s > self._limits.timeout_s:
            message = f"stopped after {self._limits.timeout_s:g} s in phase '{self._phase}'"
            return self._ended("timeout", "Timeout", f"{message} (--timeout)")
        if self._limits.memory_bytes is not None and resident > self._limits.memory_bytes:
            limit = self._limits.memory_bytes / 2**20
            message = f"more than {limit:.0f} MiB resident in phase '{self._phase}'"
            return self._ended("oom", "MemoryLimit", f"{message} (--memory-limit)")
        return None

    def _measure(self) -> int:
        """Return the bytes resident in two consecutive samples: a fork may count twice."""
        sample = resident_bytes(self._child.pid)
        resident, self._last = min(sample, self._last), sample
        self._peak = max(self._peak, resident)
        return resident

    def _reported(self, event: Mapping[str, Any]) -> Outcome:
        if event["event"] == "result":
            measured = Measured.model_validate(event["body"])
            return Outcome(status="ok", measured=measured, peak_rss_bytes=self._peak or None)
        error = ErrorInfo(
            kind=event["type"], message=event["message"], traceback=event["traceback"]
        )
        return Outcome(
            status=event["kind"],
            error=error,
            phases={n: Phase.model_validate(p) for n, p in event["phases"].items()},
            peak_rss_bytes=self._peak or None,
        )

    def _died(self) -> Outcome:
        """Return the outcome of a process that ended without a report: killed, or crashed."""
        code = self._child.wait()
        how = f"exited with code {code}"
        if code < 0:
            how = f"was killed by {signal.Signals(-code).name}"
        message = f"the cell's process {how} in phase '{self._phase}'"
        if code == -signal.SIGKILL:
            message += (
                "; the system does this when memory runs out (--memory-limit stops a cell earlier)"
            )
        return self._ended("failed", "ProcessDied", message)

    def _ended(self, status: Status, kind: str, message: str) -> Outcome:
        _kill(self._child)
        error = ErrorInfo(kind=kind, message=message, traceback=_tail(self._log))
        return Outcome(status=status, error=error, peak_rss_bytes=self._peak or None)


def resident_bytes(pid: int) -> int:
    """Return the resident size of a process and its descendants; 0 once it has ended.

    Pages that a descendant shares with the process it was forked from are counted once.
    """
    total = 0
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        total = process.memory_info().rss
        for member in process.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                total += member.memory_full_info().uss
    return total


def _environment(job: Job) -> dict[str, str]:
    fixed = {
        **dict.fromkeys(THREAD_VARIABLES, str(job.threads)),
        "RANKSTONE_CACHE": str(job.cache.absolute()),  # where engines store converted networks
        "PYTHONHASHSEED": "0",  # sets of strings iterate in the same order in every run
        "TOKENIZERS_PARALLELISM": "true",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "TQDM_DISABLE": "1",
    }
    # The child imports the package from where the parent did, installed or not.
    path = os.pathsep.join(entry for entry in sys.path if entry)
    return {**os.environ, **fixed, "PYTHONPATH": path}


def _kill(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _tail(log: IO[bytes]) -> str | None:
    """Return the end of what the process wrote to standard error."""
    size = log.seek(0, os.SEEK_END)
    log.seek(max(0, size - LOG_TAIL_BYTES))
    return log.read().decode("utf-8", "replace").strip() or None
