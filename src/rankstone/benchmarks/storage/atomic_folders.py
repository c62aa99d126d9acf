"""Cache folders that are either complete or absent, and are verified before they are read.

`meta.json`, written last, contains the sha256 of every other file and its own digest.
`verified.json` beside it stores the stamps (size, change time, inode) with which the files last
matched their digests, so that they are hashed once and not in every run. Hashing takes .8 CPU
seconds per GiB on an AMD EPYC with SHA instructions.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from rankstone import files
from rankstone.errors import DataError, RankstoneWarning
from rankstone.strict import canonical_digest

META = "meta.json"
VERIFIED = "verified.json"
SCHEMA = 3
"""Version of the layout of converted folders, part of their names."""
SETTLED_S = 1.0
"""A file younger than this when it was hashed may change again under the same stamp."""
Stamps = dict[str, list[str | int]]


def inside(root: Path, name: str) -> Path:
    """Return `root/name` for the name of a data set; DataError if it would be outside `root`."""
    parts = PurePosixPath(name).parts
    if not parts or ".." in parts or PurePosixPath(name).is_absolute() or "\\" in name:
        raise DataError(
            f"'{name}' cannot name a data set: it must be a relative path without '..'."
        )
    return root.joinpath(*parts)


def build_once(target: Path, is_good: Callable[[Path], bool], fill: Callable[[Path], None]) -> Path:
    """Let `fill` create the folder `target` once (`files.build_once`).

    Raises:
        DataError: the folder cannot be written; nothing incomplete is left.
    """
    try:
        return files.build_once(target, is_good, fill)
    except OSError as error:
        raise DataError(
            f"{target}: cannot be prepared: {error}. No incomplete file was kept. Free space "
            "there, or name another folder with --cache (RANKSTONE_CACHE)."
        ) from error


def write_meta(folder: Path, body: dict[str, Any]) -> None:
    """Write `meta.json`, last, with the size and sha256 of every file in the folder."""
    present = {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    listed = {
        "files": {name: path.stat().st_size for name, path in present.items()},
        "file_sha256": {name: files.sha256_of(path) for name, path in present.items()},
    }
    body = {"schema": SCHEMA, **body, **listed}
    text = json.dumps({**body, "digest": canonical_digest(body)}, indent=1, ensure_ascii=False)
    with (folder / META).open("w", encoding="utf-8", newline="\n") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())


def read_meta(folder: Path) -> dict[str, Any] | None:
    """Return the folder's `meta.json`; None if it is missing or damaged, or a file size differs."""
    try:
        meta: dict[str, Any] = json.loads((folder / META).read_text(encoding="utf-8"))
        digest = meta.pop("digest")
        whole = (
            meta["schema"] == SCHEMA
            and canonical_digest(meta) == digest
            and all((folder / name).stat().st_size == size for name, size in meta["files"].items())
        )
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return None
    return meta if whole else None


def changed_file(folder: Path, meta: Mapping[str, Any], *, again: bool = False) -> Path | None:
    """Return a file that differs from its digest in `meta`; None if none does.

    Args:
        again: also hash files that were hashed before and have the same stamps.
    """
    digests: dict[str, str] = meta["file_sha256"]
    known = _verified(folder)
    found: Stamps = {}
    for name, digest in digests.items():
        began, stamp = time.time_ns(), _stamp(folder / name, digest)
        if again or stamp is None or known.get(name) != stamp:
            if stamp is None or files.sha256_of(folder / name) != digest:
                return folder / name
            if began - int(stamp[2]) < SETTLED_S * 1e9:
                continue
        found[name] = stamp
    if found != known:
        _note(folder, found)
    return None


def whole(folder: Path) -> bool:
    """Return True if the folder is as it was written; warn if one of its files has changed."""
    meta = read_meta(folder)
    changed = None if meta is None else changed_file(folder, meta)
    if changed is not None:
        message = f"{changed}: changed since it was written; its folder is created again"
        warnings.warn(message, RankstoneWarning, stacklevel=2)
    return meta is not None and changed is None


def unchanged(metas: Mapping[Path, Mapping[str, Any]]) -> Callable[[], None]:
    """Return a check that the files of opened folders are still the verified ones.

    The check raises a DataError. It takes microseconds if no file was touched.
    """
    opened = {folder: _stamps(folder, meta) for folder, meta in metas.items()}

    def check() -> None:
        for folder, meta in metas.items():
            now = _stamps(folder, meta)
            touched = any(stamp and stamp != opened[folder][name] for name, stamp in now.items())
            changed = changed_file(folder, meta) if touched else None
            if changed is not None:
                raise DataError(
                    f"{changed}: changed while it was in use. What was computed from it is"
                    " discarded. Run again."
                )

    return check


def _stamps(folder: Path, meta: Mapping[str, Any]) -> dict[str, list[str | int] | None]:
    return {name: _stamp(folder / name, digest) for name, digest in meta["file_sha256"].items()}


def _stamp(path: Path, digest: str) -> list[str | int] | None:
    """Return a file's digest, size, change time and inode; None if the file is missing."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return [digest, stat.st_size, stat.st_mtime_ns, stat.st_ino]


def _verified(folder: Path) -> Stamps:
    try:
        stamps = json.loads((folder / VERIFIED).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return stamps if isinstance(stamps, dict) else {}


def _note(folder: Path, stamps: Stamps) -> None:
    # If the folder is read-only, every run hashes the files.
    with contextlib.suppress(OSError), files.appearing(folder / VERIFIED) as out:
        out.write(json.dumps(stamps).encode())
