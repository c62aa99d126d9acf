"""Engines whose files lie in a folder of the cell."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

FOLDER = "engine"


def fresh(work: Path, name: str) -> Path:
    """Return a new, empty folder below `work`."""
    return Path(tempfile.mkdtemp(dir=work, prefix=f"{name}-"))


def copied(engine: Path, folder: Path) -> None:
    """Copy the files of an engine, less its locks, into `folder`."""
    shutil.copytree(engine, folder / FOLDER, ignore=shutil.ignore_patterns("*.lock"))


def size(engine: Path) -> int:
    """Return the bytes of all files."""
    return sum(path.stat().st_size for path in engine.rglob("*") if path.is_file())


def filled(engine: Path) -> int:
    """Return the bytes of the blocks that files occupy, without the holes in them."""
    return sum(512 * path.stat().st_blocks for path in engine.rglob("*") if path.is_file())
