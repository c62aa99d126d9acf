"""Construction of a method in a separate process, which third-party code may end."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from rankstone.errors import AdapterError
from rankstone.execution.descendants import MARK, end_process
from rankstone.registry import target
from rankstone.runners.construct import build_runner, parts, untrained
from rankstone.runners.objects.method import ObjectMethod
from rankstone.specs import MethodSpec

LIMIT_S = 300.0
SURVIVED = b"survived"


def refuse_deadly(method: MethodSpec) -> None:
    """Raise AdapterError if importing or constructing the method's own adapters ends a process.

    Methods that use only Rankstone's adapters, and objects, which are already in this process, are
    not tried. Errors are left to the construction in this process.
    """
    if not any(_foreign(method)):
        return
    ended = _tried(method)
    if ended is None:
        raise AdapterError(
            f"{method.file}: adapter '{method.adapter}' was not constructed within {LIMIT_S:g} s."
            " Start servers and load weights in encode or index."
        )
    code, output = ended
    if not output.endswith(SURVIVED):
        raise AdapterError(
            f"{method.file}: adapter '{method.adapter}' ended the process that imported and"
            f" constructed it, with exit code {code}. Correct its module."
        )


def _tried(method: MethodSpec) -> tuple[int, bytes] | None:
    """Return exit code and output of the trial, whose processes have ended; None after a timeout.

    The output goes to a file: a process that the adapter started could keep a pipe open.
    """
    mark = secrets.token_hex(8)
    path = os.pathsep.join(dict.fromkeys(str(Path(entry).absolute()) for entry in sys.path))
    with tempfile.TemporaryFile() as job, tempfile.TemporaryFile() as output:
        job.write(method.model_dump_json().encode())
        job.seek(0)
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "rankstone.execution.trial"],
            stdin=job,
            stdout=output,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path, MARK: mark},
            start_new_session=True,
        )
        try:
            code = child.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            return None
        finally:
            end_process(child, mark)
        output.seek(0)
        return code, output.read()


def _foreign(method: MethodSpec) -> list[str]:
    """Return the adapters that are not part of this package."""
    own = [part.adapter for _, part in parts(method) if not isinstance(part, ObjectMethod)]
    modules = [target("adapter", name, method.file) for name in own]
    return [module for module in modules if not module.startswith("rankstone.")]


def main() -> None:
    """Construct the method read from standard input, and report that the process survived."""
    threading.Thread(target=_end_with_parent, args=[os.getppid()], daemon=True).start()
    with contextlib.suppress(BaseException):  # the caller's own construction raises it again
        build_runner(untrained(MethodSpec.model_validate_json(sys.stdin.buffer.read())))
    sys.stdout.flush()
    os.write(1, SURVIVED)
    os._exit(0)  # do not wait for threads of the adapter


def _end_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


if __name__ == "__main__":
    main()
