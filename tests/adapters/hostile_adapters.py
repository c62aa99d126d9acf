"""Adapters that end, leave or report in ways that no harness expects."""

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from strange_adapters import Constant, ConstantIndex

from rankstone.runners.protocols import Hits
from rankstone.runners.search.engines.servers.removal import removed_at_end

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


class Daemon(Constant):
    """Leaves a server in the foreground of its session, and two that detached themselves."""

    def damage(self, hits: Hits) -> Hits:
        folder = Path(os.environ["HOSTILE_PIDS"])
        if not any(folder.iterdir()):
            children = [
                subprocess.Popen(SLEEP),
                subprocess.Popen(SLEEP, start_new_session=True, env={}),
            ]
            for child in children:
                (folder / str(child.pid)).touch()
            if os.fork() == 0:  # with all descriptors, the one of the events too
                os.setsid()
                if os.fork() == 0:
                    (folder / str(os.getpid())).touch()
                    time.sleep(600)
                os._exit(0)
            os.wait()
        return hits


class DaemonThenCrash(Daemon):
    def damage(self, hits: Hits) -> Hits:
        super().damage(hits)
        time.sleep(1)  # the grandchild writes its number, and all are noticed
        ctypes.string_at(0)
        return hits


def remove(variable: str, name: str) -> None:
    """Stand in for the removal of a collection."""
    collection = Path(os.environ[variable]) / name
    collection.rename(collection.with_suffix(".removed"))


class OnServer(Constant):
    """Has a collection, a file, on a server, a folder."""

    def index(self, documents: Any, context: Any) -> ConstantIndex:
        index = super().index(documents, context)
        (Path(os.environ["HOSTILE_SERVER"]) / type(self).__name__).touch()
        removed_at_end(index, context.work, remove, "HOSTILE_SERVER", type(self).__name__)
        return index


class Surrogate(OnServer):
    def damage(self, hits: Hits) -> Hits:
        raise ValueError("a lone \ud800 surrogate, and an escape \x1b[31m")


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    def __reduce__(self) -> Any:
        raise TypeError("cannot be pickled")


class Unprintable(Constant):
    def damage(self, hits: Hits) -> Hits:
        raise UnspeakableError


class Long(Constant):
    def damage(self, hits: Hits) -> Hits:
        raise ValueError("x" * 30_000_000)


class Exits(Constant):
    def damage(self, hits: Hits) -> Hits:
        sys.exit(0)


class Interrupts(Constant):
    def damage(self, hits: Hits) -> Hits:
        raise KeyboardInterrupt


class Recurses(Constant):
    def damage(self, hits: Hits) -> Hits:
        return self.damage(hits)


class Vanishes(OnServer):
    def damage(self, hits: Hits) -> Hits:
        os._exit(0)


class Closes(Constant):
    """Closes every descriptor, that of its reports too."""

    def damage(self, hits: Hits) -> Hits:
        os.closerange(0, 256)
        return hits


class Babbles(Constant):
    """Writes JSON of its own to every descriptor."""

    def damage(self, hits: Hits) -> Hits:
        for descriptor in range(1, 64):
            try:
                os.write(descriptor, b'5\n[]\n{"event": "progress"}\n' + b"[" * 100_000 + b"\n")
            except OSError:
                continue
        return hits


class Negative(Constant):
    size: Any = -5

    def index(self, documents: Any, context: Any) -> Any:
        index = ConstantIndex(len(documents), self.damage)
        index.nbytes = lambda: self.size  # type: ignore[method-assign]
        return index


class NaNBytes(Negative):
    size = float("nan")


class Immense(Negative):
    size = 10**400


class Describes(Constant):
    def describe(self) -> dict[str, Any]:
        return {"share": float("nan")}


class DescribesMuch(Constant):
    def describe(self) -> dict[str, Any]:
        return {"text": "x" * 80_000_000}


class ExitsWhenBuilt(Constant):
    def __init__(self) -> None:
        raise SystemExit(0)


class Forks(Constant):
    """Lets a copy of the process continue, which must report nothing."""

    def encode(self, texts: Sequence[str], role: str) -> list[str]:
        os.fork()
        return list(texts)
