"""Connection of this process to a Ray cluster."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator
from typing import Any

from rankstone.errors import ClusterError, require

REACH_S = 5.0
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray's fault handler would replace that of a Java virtual machine, which needs its own.
    "RAY_DISABLE_FAILURE_SIGNAL_HANDLER": "1",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
"""Environment of Ray: no usage statistics, and no changes to runtime environments."""
SETTINGS = b"\x04"
"""Type of the first HTTP/2 frame from either side, at its fourth byte."""
HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0" + SETTINGS + bytes(5)
START = "ray start --head --port 6379"


def refuse_missing() -> None:
    """Raise MissingExtraError if Ray is not installed."""
    require("--ray", "ray", "ray")


@contextlib.contextmanager
def connected(address: str) -> Iterator[None]:
    """Connect to the cluster at `address` until the block ends; an existing connection is reused.

    Args:
        address: `HOST:PORT` or `ray://HOST:PORT`; if empty, the cluster of RAY_ADDRESS or of this
            machine, or else a new one on this machine.

    Raises ClusterError if it cannot be reached.
    """
    refuse_missing()
    os.environ.update({name: os.environ.get(name, value) for name, value in QUIET.items()})
    import ray

    if ray.is_initialized():
        yield
        return
    source = "--ray" if address else "RAY_ADDRESS"
    _refuse_unreachable(address or os.environ.get("RAY_ADDRESS", ""), source)
    with _handlers_kept():
        _connect(ray, address)
    try:
        yield
    finally:
        with _handlers_kept():
            ray.shutdown()


def _connect(ray: Any, address: str) -> None:
    quiet = {"log_to_driver": False, "logging_level": "error", "include_dashboard": False}
    try:
        ray.init(address or None, **quiet)
    except (ConnectionError, OSError, RuntimeError, ValueError, TimeoutError) as error:
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise ClusterError(
            f"--ray {address}: no connection to a Ray cluster: {reason}. Start its head ({START}),"
            " join it from this machine (ray start --address HEAD:6379), and look at: ray status"
        ) from error


def _refuse_unreachable(address: str, source: str = "--ray") -> None:
    """Raise ClusterError if nothing answers at `address`, before Ray waits for it."""
    place = address.removeprefix("ray://")
    host, _, port = place.rpartition(":")
    if not address or address in ("auto", "local"):
        return
    if not (host and port.isdecimal()):
        raise ClusterError(f"{source} {address}: write it as HOST:PORT or ray://HOST:PORT.")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), REACH_S) as connection:
            _refuse_other(connection)
    except (OSError, OverflowError) as error:
        raise ClusterError(
            f"{source} {address}: nothing answers there: {error}. Start the head of the cluster"
            f" ({START}), or correct the address (ray status, on its head)."
        ) from error


def _refuse_other(connection: socket.socket) -> None:
    """Raise ConnectionError unless an HTTP/2 server answers; Ray would wait for minutes."""
    if os.environ.get("RAY_USE_TLS", "0") != "0":
        return
    connection.sendall(HELLO)
    if connection.recv(9)[3:4] != SETTINGS:
        raise ConnectionError("the server there is not the head of a Ray cluster")


@contextlib.contextmanager
def _handlers_kept() -> Iterator[None]:
    """Restore the signal handlers that Ray replaces."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
