"""Removal of a cell's data from servers, when it ends or after its process was killed.

A note in the cell's work folder states what to remove. The cell's process does so or, if it was
killed, its parent.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import secrets
import warnings
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rankstone.errors import RankstoneError, RankstoneWarning

NOTE = "on-a-server-{}.json"
_OPEN: list[weakref.finalize[..., Any]] = []


def at_end(owner: object, undo: Callable[..., None], *args: Any) -> None:
    """Call `undo` when `owner` is garbage-collected, its cell ends, or the process exits."""
    _OPEN.append(weakref.finalize(owner, undo, *args))


def removed_at_end(owner: object, work: Path, remove: Callable[..., None], *args: str) -> None:
    """Call `remove`, a module-level function, at the end of `owner`, or from `remove_left`."""
    note = work / NOTE.format(secrets.token_hex(8))
    note.write_text(json.dumps([remove.__module__, remove.__name__, *args]))
    at_end(owner, _remove, str(note), remove, *args)


@contextlib.contextmanager
def servers_of_cell() -> Iterator[None]:
    """At the end of the block, remove its indexes from servers and stop locally started servers."""
    before = len(_OPEN)
    try:
        yield
    finally:
        while len(_OPEN) > before:
            _OPEN.pop()()


def remove_left(folder: Path) -> None:
    """Remove the data noted below `folder` by processes that have ended."""
    for note in sorted(folder.rglob(NOTE.format("*"))):
        module, name, *args = json.loads(note.read_text())
        _remove(str(note), getattr(importlib.import_module(module), name), *args)


def _remove(note: str, remove: Callable[..., None], *args: str) -> None:
    try:
        remove(*args)
    except RankstoneError as error:
        message = f"{args[-1]} was left on a server; remove it there. {error}"
        warnings.warn(message, RankstoneWarning, stacklevel=2)
    Path(note).unlink(missing_ok=True)
