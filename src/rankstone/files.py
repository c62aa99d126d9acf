"""Files that appear whole or not at all; of no room, because every room writes some."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO

TEMPORARY = ".tmp"
_CHUNK = 1 << 20


@contextlib.contextmanager
def appearing(path: Path) -> Iterator[IO[bytes]]:
    """Write to a temporary neighbour that takes the place of `path` when the block succeeds.

    The content is on the disk before the name is: a crash leaves the old file, or the new one.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{TEMPORARY}")
    try:
        with temporary.open("xb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sha256_of(path: Path) -> str:
    """Hexadecimal sha256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def copy(source: Path, target: Path) -> None:
    """Copy a file's content so that `target` appears whole."""
    with source.open("rb") as file, appearing(target) as out:
        while chunk := file.read(_CHUNK):
            out.write(chunk)


def sync_folder(folder: Path) -> None:
    """Make a rename last; only POSIX can, and some file systems refuse."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
