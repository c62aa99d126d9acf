"""Folders of the cache that are either whole or absent."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from rankstone import files
from rankstone.errors import DataError

META = "meta.json"
SCHEMA = 2
"""Version of the layout of converted folders, part of their names."""


def inside(root: Path, name: str) -> Path:
    """Return `root/name` for a data set's name; DataError where it would leave `root`."""
    parts = PurePosixPath(name).parts
    if not parts or ".." in parts or PurePosixPath(name).is_absolute() or "\\" in name:
        raise DataError(
            f"'{name}' cannot name a data set: it must be a relative path without '..'."
        )
    return root.joinpath(*parts)


def build_once(target: Path, is_good: Callable[[Path], bool], fill: Callable[[Path], None]) -> Path:
    """Have `fill` make the folder `target` once (`files.build_once`).

    Raises:
        DataError: the folder cannot be written; nothing half-written is left.
    """
    try:
        return files.build_once(target, is_good, fill)
    except OSError as error:
        raise DataError(
            f"{target}: cannot be prepared: {error}. Nothing half-written was kept. Free space "
            "there, or name another folder with --cache (RANKSTONE_CACHE)."
        ) from error


def write_meta(folder: Path, body: dict[str, Any]) -> None:
    """Write `meta.json`, last: it lists the size of every file beside it."""
    sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.is_file()}
    text = json.dumps({"schema": SCHEMA, **body, "files": sizes}, indent=1, ensure_ascii=False)
    with (folder / META).open("w", encoding="utf-8", newline="\n") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())


def read_meta(folder: Path) -> dict[str, Any] | None:
    """Return the folder's `meta.json`; None if it is missing or a file has another size."""
    try:
        meta: dict[str, Any] = json.loads((folder / META).read_text(encoding="utf-8"))
        whole = meta["schema"] == SCHEMA and all(
            (folder / name).stat().st_size == size for name, size in meta["files"].items()
        )
    except (OSError, ValueError, TypeError, LookupError, AttributeError):
        return None
    return meta if whole else None
