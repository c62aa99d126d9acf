"""Processes of cells that are forked from one that has imported what they import.

A cell's process takes half a second and more to import its libraries. For tests of what cells
measure, a template imports them once and forks; OpenBLAS ends its threads before a fork. How
processes are started and ended is tested with those that `rankstone.execution.process` starts
(`test_cells`, `test_hostile_adapters`).

    python -P -m tests.forked_cells   is the template
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

PRELOADED = (
    "rankstone.execution.cell", "rankstone.execution.forecasts.sampled_cell", "bm25s",
    "scipy.sparse", "pyarrow.parquet", "pandas",
)  # fmt: skip
LARGEST = 1 << 20


class Template:
    """The process that forks, started with the environment of the first cell."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def close(self) -> None:
        if self._process is not None:
            self._control.close()
            self._process.wait()

    def popen(
        self, command: list[str], *, stdin: int, stdout: int, stderr: IO[bytes],
        env: Mapping[str, str], start_new_session: bool,
    ) -> Forked:  # fmt: skip
        """Take the place of `subprocess.Popen` where `run_process` calls it."""
        assert command[1:] == ["-P", "-m", "rankstone.execution.worker"]
        assert (stdin, stdout, start_new_session) == (subprocess.PIPE, subprocess.PIPE, True)
        (their_in, our_in), (our_out, their_out) = os.pipe(), os.pipe()
        request = {"env": dict(env), "cwd": str(Path.cwd())}
        pid = self.ask(request, their_in, their_out, stderr.fileno())
        os.close(their_in)
        os.close(their_out)
        return Forked(self, pid, os.fdopen(our_in, "wb"), os.fdopen(our_out, "rb"))

    def ask(self, request: Mapping[str, Any], *descriptors: int) -> Any:
        with self._lock:
            if self._process is None:
                self._start(request["env"])
            socket.send_fds(self._control, [json.dumps(request).encode()], descriptors)
            answer = self._control.recv(LARGEST)
        assert answer, "the template has ended"
        return json.loads(answer)

    def _start(self, env: Mapping[str, str]) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (self._control, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LARGEST)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__, str(theirs.fileno())],
            env=dict(env), pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL,
        )  # fmt: skip
        theirs.close()


class Forked:
    """The part of `subprocess.Popen` that `run_process` uses."""

    def __init__(self, template: Template, pid: int, stdin: IO[bytes], stdout: IO[bytes]) -> None:
        self._template, self.pid, self.stdin, self.stdout = template, pid, stdin, stdout
        self.returncode: int | None = None

    def poll(self) -> int | None:
        return self._ended(os.WNOHANG)

    def wait(self) -> int | None:
        return self._ended(0)

    def kill(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)

    def _ended(self, options: int) -> int | None:
        if self.returncode is None:
            self.returncode = self._template.ask({"pid": self.pid, "options": options})
        return self.returncode


def main(descriptor: int) -> None:
    """Answer requests to fork, and to wait, until the other end is closed."""
    for name in PRELOADED:
        importlib.import_module(name)
    gc.freeze()
    with socket.socket(fileno=descriptor) as control:
        while True:
            message, descriptors, _, _ = socket.recv_fds(control, LARGEST, 3)
            if not message:
                return
            request = json.loads(message)
            if "env" in request:
                answer: int | None = os.fork()
                if not answer:
                    control.close()
                    become(descriptors, **request)
            else:
                answer = ended(**request)
            for one in descriptors:
                os.close(one)
            control.send(json.dumps(answer).encode())


def ended(pid: int, options: int) -> int | None:
    found, status = os.waitpid(pid, options)
    return os.waitstatus_to_exitcode(status) if found else None


def become(descriptors: list[int], env: dict[str, str], cwd: str) -> None:
    """Be the process of a cell."""
    try:
        os.setsid()
        for target, source in enumerate(descriptors):
            os.dup2(source, target)
            os.close(source)
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(env)
        sys.path[:] = dict.fromkeys([*env["PYTHONPATH"].split(os.pathsep), *sys.path])
        importlib.import_module("rankstone.execution.worker").main()
    finally:
        os._exit(1)


@contextlib.contextmanager
def forking(template: Template) -> Iterator[None]:
    """Fork the processes of cells until the block ends."""
    import pytest

    replaced = SimpleNamespace(Popen=template.popen, PIPE=subprocess.PIPE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rankstone.execution.process.subprocess", replaced)
        yield


if __name__ == "__main__":
    main(int(sys.argv[1]))
