"""Folders of the cache that are either whole or absent."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from rankstone.errors import DataError
from rankstone.files import sync_folder

try:
    import fcntl
except ImportError:  # not on Windows: the rename alone decides there
    fcntl = None  # type: ignore[assignment]

META = "meta.json"
SCHEMA = 2
"""Layout of the converted folders; another number is another folder."""


def inside(root: Path, name: str) -> Path:
    """`root/name` for a data set's name; DataError where the name would leave `root`."""
    parts = PurePosixPath(name).parts
    if not parts or ".." in parts or PurePosixPath(name).is_absolute() or "\\" in name:
        raise DataError(
            f"'{name}' cannot name a data set: it must be a relative path without '..'."
        )
    return root.joinpath(*parts)


def build_once(target: Path, is_good: Callable[[Path], bool], fill: Callable[[Path], None]) -> Path:
    """Have `fill` make the folder `target`, unless it is there and good.

    `fill` writes into a temporary folder beside it, which takes the name `target` when all is
    written. Processes that want the same folder wait for the first; a damaged one is replaced.

    Raises:
        DataError: the folder cannot be written; nothing half-written is left.
    """
    if is_good(target):
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with locked(target):
            if not is_good(target):
                _remove_leftovers(target)
                _build(target, fill)
    except OSError as error:
        raise DataError(
            f"{target}: cannot be prepared: {error}. Nothing half-written was kept. Free space "
            "there, or name another folder with --cache (RANKSTONE_CACHE)."
        ) from error
    return target


def _build(target: Path, fill: Callable[[Path], None]) -> None:
    temporary = _beside(target, "tmp")
    temporary.mkdir()
    try:
        fill(temporary)
        sync_folder(temporary)
        _replace(target, temporary)
        sync_folder(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _replace(target: Path, temporary: Path) -> None:
    """Give `temporary` the name `target`; whoever has the old files mapped keeps them."""
    old = _beside(target, "old")
    if target.exists():
        target.rename(old)
    try:
        temporary.rename(target)
    except OSError:
        # Without a lock another process may have won the race: its folder is as good.
        if not target.is_dir():
            raise
    shutil.rmtree(old, ignore_errors=True)


def _beside(target: Path, kind: str) -> Path:
    return target.with_name(f".{target.name}.{kind}-{uuid.uuid4().hex}")


def _remove_leftovers(target: Path) -> None:
    """What a killed process left: the lock is ours, so nobody is writing it any more."""
    if fcntl is None:
        return
    for kind in ("tmp", "old"):
        for leftover in target.parent.glob(f".{target.name}.{kind}-*"):
            shutil.rmtree(leftover, ignore_errors=True)


@contextlib.contextmanager
def locked(target: Path) -> Iterator[None]:
    """Hold `target`'s lock, a file beside it: whoever else wants it waits."""
    with target.with_name(f".{target.name}.lock").open("a") as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)  # released when the file is closed, also by a kill
        yield


def write_meta(folder: Path, body: dict[str, Any]) -> None:
    """Write `meta.json`, last: it lists the size of every file beside it."""
    files = {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.is_file()}
    text = json.dumps({"schema": SCHEMA, **body, "files": files}, indent=1, ensure_ascii=False)
    with (folder / META).open("w", encoding="utf-8", newline="\n") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())


def read_meta(folder: Path) -> dict[str, Any] | None:
    """The folder's `meta.json`; None where it is missing or any file has not the size it lists."""
    try:
        meta: dict[str, Any] = json.loads((folder / META).read_text(encoding="utf-8"))
        whole = meta["schema"] == SCHEMA and all(
            (folder / name).stat().st_size == size for name, size in meta["files"].items()
        )
    except (OSError, ValueError, TypeError, LookupError, AttributeError):
        return None
    return meta if whole else None
