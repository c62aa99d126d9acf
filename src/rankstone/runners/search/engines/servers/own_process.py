"""Server processes that a cell starts on this machine."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from rankstone.errors import EngineError
from rankstone.runners.search.engines.servers.removal import at_end

LOG = "server.log"
START_S, STOP_S, POLL_S = 60.0, 10.0, 0.05
PORTS = 3
"""Attempts with a free port, which another process may take before the server does."""
LOG_LINES = 5


class OwnProcess:
    """A cell's own server, started on a free local port and stopped with this object.

    Args:
        command: Returns the command line for a port.
        ready: Returns True once the server on a port responds; called when it listens.
        stop: Signal on which the server exits immediately.
    """

    def __init__(
        self,
        folder: Path,
        command: Callable[[int], Sequence[str]],
        ready: Callable[[int], bool] = lambda port: True,
        *,
        environment: Mapping[str, str] | None = None,
        stop: signal.Signals = signal.SIGTERM,
    ) -> None:
        self._log = folder / LOG
        for _ in range(PORTS):
            self.port = free_port()
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    command(self.port), stdin=subprocess.DEVNULL, stdout=log,
                    stderr=subprocess.STDOUT, cwd=folder, env=environment,
                )  # fmt: skip
            at_end(self, _stop, self._process, stop)
            if self._starts(ready):
                return
            _stop(self._process, stop)
        raise EngineError(
            f"a server could not be started on {PORTS} ports in turn. {self.last_words()}"
        )

    def _starts(self, ready: Callable[[int], bool]) -> bool:
        """Return True once the server responds; False if it exited, or shares its port."""
        end, listens = time.monotonic() + START_S, False
        while self._process.poll() is None:
            if not listens and (listens := self._listens()) and self._shares():
                return False
            if listens and ready(self.port):
                return True
            if time.monotonic() > end:
                raise EngineError(
                    f"a server did not answer within {START_S:g} s. {self.last_words()}"
                )
            time.sleep(POLL_S)
        return False

    def _listens(self) -> bool:
        """Return True if this process, and not another one, listens on the port."""
        with contextlib.suppress(psutil.Error):
            found = psutil.Process(self._process.pid).net_connections("tcp")
            return any(map(self._is_on_port, found))
        return False

    def _shares(self) -> bool:
        """Return True if another process listens there too, as SO_REUSEPORT allows both.

        This reads the sockets of all processes. Once is enough: of two servers, the one that
        listens later finds the other.
        """
        with contextlib.suppress(psutil.Error):
            below = psutil.Process(self._process.pid).children(recursive=True)
            own = {self._process.pid, *(one.pid for one in below)}
            found = filter(self._is_on_port, psutil.net_connections("tcp"))
            return any(one.pid not in own for one in found)
        return False

    def _is_on_port(self, one: Any) -> bool:
        """Return True for the socket of a process that listens on the port."""
        return bool(one.status == psutil.CONN_LISTEN and one.laddr.port == self.port)

    def last_words(self) -> str:
        """Return the state of the process, and the end of its log."""
        code = self._process.poll()
        state = "It runs" if code is None else f"It ended with code {code}"
        return f"{state}; its log ends: {_end(self._log.read_text(errors='replace'))}"

    def memory_bytes(self) -> int:
        """Return the memory of all its processes, with shared pages counted once."""
        total = 0
        with contextlib.suppress(psutil.Error):
            server = psutil.Process(self._process.pid)
            for process in (server, *server.children(recursive=True)):
                with contextlib.suppress(psutil.Error):
                    used = process.memory_full_info()
                    total += getattr(used, "pss", used.uss)
        return total


def _end(log: str) -> str:
    """Return the last lines of a log in one line; of the last Python traceback, its error alone."""
    _, traceback, after = log.rpartition("Traceback (most recent call last):\n")
    lines = [s for s in after.split("\n") if s.strip() and not (traceback and s[0].isspace())]
    return " | ".join(lines[-LOG_LINES:])


def free_port() -> int:
    """Return a free local port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _stop(process: subprocess.Popen[bytes], how: signal.Signals) -> None:
    """Stop a process and its children."""
    if process.poll() is not None:
        return  # another may have its number by now
    below: list[psutil.Process] = []
    with contextlib.suppress(psutil.Error):
        below = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(how)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    process.kill()
    for one in below:
        with contextlib.suppress(psutil.Error):
            one.kill()
    process.wait()
