"""Folders of embedded engines, below the cell's work folder."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

FOLDER = "engine"


def fresh(work: Path, name: str) -> Path:
    """Create a new, empty folder below `work`."""
    return Path(tempfile.mkdtemp(dir=work, prefix=f"{name}-"))


def copied(engine: Path, folder: Path) -> None:
    """Copy an engine's files, except locks, into `folder`."""
    shutil.copytree(engine, folder / FOLDER, ignore=shutil.ignore_patterns("*.lock"))


def size(engine: Path) -> int:
    """Return the total size of all files in bytes."""
    return sum(path.stat().st_size for path in engine.rglob("*") if path.is_file())


def filled(engine: Path) -> int:
    """Return the bytes allocated on disk, without holes in sparse files."""
    return sum(512 * path.stat().st_blocks for path in engine.rglob("*") if path.is_file())
