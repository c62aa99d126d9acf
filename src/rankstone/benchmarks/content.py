"""Digests of the content of user files, independent of paths and modification times."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from rankstone.benchmarks.dataset import RawDataset
from rankstone.errors import DataError
from rankstone.files import appearing, cache_root, sha256_of, stamp
from rankstone.specs import canonical_digest

CACHED_BYTES = 1 << 26
"""Digests of files of at least this size are cached, with the file's size and time."""
SETTLED_S = 1.0
"""A file younger than this when it was hashed may change again under the same time stamp."""


def content_digest(files: Mapping[str, Path]) -> str:
    """Return the digest of the names of files in a collection and of their contents.

    Raises:
        DataError: a file cannot be read.
    """
    return canonical_digest({name: _digest(path) for name, path in files.items()})


def pinned(raw: RawDataset, content: str | None, found: Callable[[], str]) -> RawDataset:
    """Return `raw` with a check, before each read, that its files still have the digest `content`.

    Args:
        content: digest in the task's name; None if the name contains none.
        found: computes the present digest.
    """
    if content is None:
        return raw

    def check() -> None:
        if found() != content:
            raise DataError(f"{raw.source}: changed since the task was named. Name it again.")

    def checked(read: Callable[..., object]) -> Callable[..., object]:
        def run(*given: object) -> object:
            check()
            return read(*given)

        return run

    readers = {"documents", "document_blocks", "judgements"}
    read = {name: checked(one) for name in readers if (one := getattr(raw, name)) is not None}
    return replace(raw, fingerprint=content, **read)  # type: ignore[arg-type]


def _digest(path: Path) -> str:
    try:
        large = path.stat().st_size >= CACHED_BYTES
        return _cached_digest(path.resolve()) if large else sha256_of(path)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read: {error.strerror or error}. Make it readable."
        ) from None


def _cached_digest(path: Path) -> str:
    """Return a file's digest from the cache, else by reading the file."""
    note = cache_root() / "file-digests" / f"{canonical_digest(str(path))[:32]}.json"
    state = stamp(path)
    with contextlib.suppress(OSError, ValueError, TypeError):
        *noted, digest = json.loads(note.read_text())
        if noted == state:
            return str(digest)
    began, digest = time.time_ns(), sha256_of(path)
    if began - path.stat().st_mtime_ns > SETTLED_S * 1e9 and stamp(path) == state:
        with contextlib.suppress(OSError):
            note.parent.mkdir(parents=True, exist_ok=True)
            with appearing(note) as out:
                out.write(json.dumps([*state, digest]).encode())
    return digest
