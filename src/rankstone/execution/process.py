"""A new process for one cell: started, monitored, limited, and always ended."""

from __future__ import annotations

import contextlib
import os
import queue
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, cast

import psutil

from rankstone.execution.descendants import MARK, descendants, end_process
from rankstone.execution.events import (
    BOOKKEEPING,
    LONGEST_EVENT,
    UNDER_LOAD,
    bounded,
    described,
    parsed,
)
from rankstone.execution.forecasts.sampled import Sampled
from rankstone.execution.job import Job
from rankstone.files import MIB
from rankstone.profiling.device import VARIABLE
from rankstone.progress import Progress
from rankstone.results.record import ErrorInfo, Measured, Phase, Status
from rankstone.results.serialise import check_storable
from rankstone.runners.search.engines.servers.removal import remove_left

POLL_S = 0.1
interrupted = threading.Event()
"""Set to end cells that other threads follow: only the main thread receives Ctrl-C."""
DEAD_S = 1.0
"""Seconds for the remaining output of a dead process to arrive."""
LOG_TAIL_BYTES = 4000
LOG_BYTES = 1 << 26
"""Size in bytes of the log on disk from which its start is discarded."""
THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS",
    "RAYON_NUM_THREADS",  # tokenizers
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of a cell; None for no limit."""

    timeout_s: float | None = None
    memory_bytes: int | None = None
    spent_s: float = 0.0
    """Seconds that the cell took before its process."""

    def passed(self, elapsed_s: float, resident: int, phase: str) -> tuple[Status, str, str] | None:
        """Return status, kind and message of a cell that exceeded a limit; None for other cells."""
        if self.timeout_s is not None and elapsed_s + self.spent_s > self.timeout_s:
            message = f"stopped after {self.timeout_s:g} s in phase '{phase}' (--timeout)"
            return "timeout", "Timeout", message
        if self.memory_bytes is not None and resident > self.memory_bytes:
            size = f"more than {self.memory_bytes / MIB:.0f} MiB"
            return "oom", "MemoryLimit", f"{size} resident in phase '{phase}' (--memory-limit)"
        return None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Result of a cell's process."""

    status: Status
    measured: Measured | None = None
    """The measured part of the record, if the status is ok."""
    sampled: Sampled | None = None
    """The measured part of a sample."""
    wall_s: float | None = None
    """Seconds from the start of the process to its end."""
    error: ErrorInfo | None = None
    phases: Mapping[str, Phase] = field(default_factory=dict)
    """Phases charged before an error."""
    peak_rss_bytes: int | None = None
    """Maximum observed resident size of the process and its children, until it writes results."""


def run_process(job: Job, limits: Limits, progress: Progress) -> Outcome:
    """Run `job` in its own process and forward its progress.

    The process and all processes that it started, including daemons, are ended before the call
    returns or raises.
    """
    began, mark = time.perf_counter(), secrets.token_hex(8)
    with tempfile.TemporaryFile() as log:
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "rankstone.execution.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env={**_environment(job), MARK: mark},
            start_new_session=True,  # Ctrl-C reaches only the parent, which ends the child
        )
        watch = _Watch(child, limits, progress, log)
        try:
            return replace(watch.outcome(job), wall_s=time.perf_counter() - began)
        finally:
            end_process(child, mark, watch.seen)
            watch.close()
            remove_left(job.staging)


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
        self.seen: set[psutil.Process] = set()
        """Processes started by the process, as far as they were observed."""
        self._phase = "start"
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def close(self) -> None:
        """Close the pipes of a process that has ended."""
        self._reader.join(timeout=5)
        with contextlib.suppress(BrokenPipeError):
            self._stdin.close()
        if not self._reader.is_alive():  # otherwise closing would wait for it
            self._stdout.close()

    def outcome(self, job: Job) -> Outcome:
        """Follow the process until it reports, dies, or exceeds a limit.

        Raises KeyboardInterrupt if cells were interrupted.
        """
        self._send(job)
        started = time.monotonic()
        while True:
            died = self._child.poll() is not None
            with contextlib.suppress(queue.Empty):
                event = self._events.get(timeout=DEAD_S if died else POLL_S)
                if event is None:
                    return self._died()
                if event["event"] != "progress":
                    self._measure()
                    return self._reported(event)
                self._progressed(event)
                died = False
            if died:  # without end of file: a process that it left behind holds the pipe
                return self._died()
            if stop := self._limit_reached(time.monotonic() - started):
                return stop
            if interrupted.is_set():
                raise KeyboardInterrupt

    def _send(self, job: Job) -> None:
        """Send the job and keep the pipe open: the child reads its end when the parent is gone."""
        with contextlib.suppress(BrokenPipeError):  # _died reports a child that died at once
            self._stdin.write(job.model_dump_json().encode() + b"\n")
            self._stdin.flush()

    def _read(self) -> None:
        while line := self._stdout.readline(LONGEST_EVENT):
            if event := parsed(line):
                self._events.put(event)
        self._events.put(None)

    def _progressed(self, event: Mapping[str, Any]) -> None:
        with contextlib.suppress(KeyError, TypeError, ValueError):  # output of an adapter
            total = event["total"]
            self._phase = bounded(str(event["name"]))
            self._progress(self._phase, int(event["done"]), total and int(total))

    def _limit_reached(self, elapsed_s: float) -> Outcome | None:
        _shorten(self._log)
        passed = self._limits.passed(elapsed_s, self._measure(), self._phase)
        return passed and self._ended(*passed)

    def _measure(self) -> int:
        """Return the smaller resident size of two samples: a fork may be counted twice."""
        below = descendants(self._child.pid)
        self.seen.update(below)
        sample = resident_bytes(self._child.pid, below)
        resident, self._last = min(sample, self._last), sample
        if self._phase not in (BOOKKEEPING, UNDER_LOAD):
            self._peak = max(self._peak, resident)
        return resident

    def _reported(self, event: Mapping[str, Any]) -> Outcome:
        try:
            if event["event"] == "sample":
                return Outcome(status="ok", sampled=Sampled.model_validate(event["body"]))
            if event["event"] == "result":
                check_storable(event["body"])
                measured = Measured.model_validate(event["body"])
                return Outcome(status="ok", measured=measured, peak_rss_bytes=self._peak or None)
            return self._failed(event)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as fault:
            message = f"the cell reported values that no record can store: {fault}"
            return self._ended("failed", "AdapterError", message)

    def _failed(self, event: Mapping[str, Any]) -> Outcome:
        return Outcome(
            status="oom" if event["kind"] == "oom" else "failed",
            error=error_info(event["type"], event["message"], self._with_log(event["traceback"])),
            phases={n: Phase.model_validate(p) for n, p in event["phases"].items()},
            peak_rss_bytes=self._peak or None,
        )

    def _with_log(self, traceback: str) -> str:
        """Return the traceback, and the earlier output of the process."""
        log = _tail(self._log)
        return f"{traceback}\n\nOutput of the process:\n{log}" if log else traceback

    def _died(self) -> Outcome:
        """Return the outcome of a process that ended without a report: killed or crashed."""
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
        error = error_info(kind, message, _tail(self._log))
        return Outcome(status=status, error=error, peak_rss_bytes=self._peak or None)


def failed(error: BaseException) -> Outcome:
    """Return the outcome of a cell that `error` ended."""
    return Outcome(status="failed", error=error_info(*described(error)))


def error_info(kind: str, message: str, traceback: str | None = None) -> ErrorInfo:
    """Return an error as a record can store it."""
    return ErrorInfo(
        kind=bounded(kind),
        message=bounded(message),
        traceback=None if traceback is None else bounded(traceback),
    )


def resident_bytes(pid: int, below: Iterable[psutil.Process]) -> int:
    """Return the resident size of a process and its descendants; 0 if it has ended.

    Pages that a descendant shares with the process from which it was forked are counted once.
    """
    total = 0
    with contextlib.suppress(psutil.Error):
        total = psutil.Process(pid).memory_info().rss
        for member in below:
            with contextlib.suppress(psutil.Error):
                total += member.memory_full_info().uss
    return total


def cell_variables(threads: int, device: str) -> dict[str, str]:
    """Return the environment variables under which methods run."""
    return {
        **dict.fromkeys(THREAD_VARIABLES, str(threads)),
        VARIABLE: device,
        "PYTHONHASHSEED": "0",  # sets of strings iterate in the same order in every run
        "TOKENIZERS_PARALLELISM": "true",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "TQDM_DISABLE": "1",
    }


def _environment(job: Job) -> dict[str, str]:
    fixed = {
        **cell_variables(job.threads, job.device),
        "RANKSTONE_CACHE": str(job.cache.absolute()),  # where engines store converted networks
    }
    # The child imports the package from the same location as the parent, installed or not.
    path = os.pathsep.join(dict.fromkeys(str(Path(entry).absolute()) for entry in sys.path))
    return {**os.environ, **fixed, "PYTHONPATH": path}


def _shorten(log: IO[bytes]) -> None:
    """Free the disk space of a long log; later output is appended at its end."""
    if os.fstat(log.fileno()).st_blocks * 512 > LOG_BYTES:
        log.truncate(0)


def _tail(log: IO[bytes]) -> str | None:
    """Return the end of the process's output on standard error."""
    size = log.seek(0, os.SEEK_END)
    log.seek(max(0, size - LOG_TAIL_BYTES))
    return log.read().decode("utf-8", "replace").strip("\0 \n") or None
