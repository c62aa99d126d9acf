"""Atomic files and folders, their digests, locks and paths."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # not on Windows: without locks, only the rename is atomic there
    fcntl = None  # type: ignore[assignment]

PathLike = str | os.PathLike[str]

TEMPORARY = ".tmp"
ABANDONED_S = 24 * 3600.0
"""Age from which a temporary folder without a lock is considered abandoned."""
_CHUNK = 1 << 20
MIB, GIB = 2**20, 2**30


def gib(size: float) -> str:
    """Return bytes as text: `1,234.5 GiB`."""
    return f"{size / GIB:,.1f} GiB"


def cache_root(folder: PathLike | None = None) -> Path:
    """Return `folder`, else `RANKSTONE_CACHE`, else `rankstone` in the user's cache folder."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rankstone"
    return Path(folder or os.environ.get("RANKSTONE_CACHE") or default).expanduser().resolve()


def existing(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that exists."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


def package_folder(name: str) -> Path | None:
    """Return the folder of an installed package, which is not imported; None if there is none."""
    spec = importlib.util.find_spec(name)
    folders = spec.submodule_search_locations if spec else None
    return Path(next(iter(folders))) if folders else None


def sha256_of(path: Path) -> str:
    """Return the hexadecimal sha256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def stamp(path: Path, name: str | None = None) -> list[str | int]:
    """Return `name` (or the path), size and time of a file, to detect changes of its content."""
    stat = path.stat()
    return [str(path) if name is None else name, stat.st_size, stat.st_mtime_ns]


@contextlib.contextmanager
def appearing(path: Path) -> Iterator[IO[bytes]]:
    """Write to a temporary file beside `path`, which replaces `path` if the block succeeds.

    The content is synced to disk before the rename: a crash leaves either the old or the new file.
    """
    temporary = _beside(path)
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


@contextlib.contextmanager
def temporary_folder(parent: Path, form: str) -> Iterator[Path]:
    """Create a folder in `parent` for the block; remove those that dead processes left there.

    The process holds a lock on its folder, which tells it apart from abandoned ones. The path is
    absolute, because other processes may have another working directory.

    Args:
        form: pattern of the name, with `{}` for eight random characters.
    """
    for leftover in parent.glob(form.format("[0-9a-z_]" * 8)):
        if leftover.is_dir() and _abandoned(leftover):
            _remove_temporary(leftover)
    folder = parent.absolute() / form.format(secrets.token_hex(4))
    with lock(folder):
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            _remove_temporary(folder)


def _remove_temporary(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    lock_file(folder).unlink(missing_ok=True)


def _abandoned(folder: Path) -> bool:
    """Return True if the process that created a temporary folder has ended, or it is very old."""
    held = lock_file(folder)
    try:
        if not held.exists():
            return time.time() - folder.stat().st_mtime > ABANDONED_S
        if fcntl is None:
            return time.time() - held.stat().st_mtime > ABANDONED_S
        with held.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # held, deleted meanwhile, or locks are not supported
        return False
    return True


@contextlib.contextmanager
def appearing_folder(path: Path) -> Iterator[Path]:
    """Fill a new folder that replaces `path` if the block succeeds.

    Processes with mapped files of the old folder keep them. The caller syncs the files.
    """
    fresh = _beside(path)
    fresh.mkdir(parents=True)
    try:
        yield fresh
        sync_folder(fresh)
        _replace_folder(path, fresh)
        sync_folder(path.parent)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def build_once(target: Path, is_good: Callable[[Path], bool], fill: Callable[[Path], None]) -> Path:
    """Let `fill` create the folder `target`, unless it exists and is good.

    Processes that need the same folder wait for the first. A damaged folder is replaced.
    """
    if is_good(target):
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with lock(target):
        if not is_good(target):
            _remove_leftovers(target)
            with appearing_folder(target) as fresh:
                fill(fresh)
    return target


@contextlib.contextmanager
def lock(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold the lock of `path`, a file beside it, until the block ends; yield True if it is held.

    The system releases the lock when the process ends. If the file system supports no locks, every
    process gets the lock.

    Args:
        wait: wait for the process that holds the lock; otherwise yield False at once.
    """
    with contextlib.ExitStack() as stack:
        file = None
        with contextlib.suppress(OSError):
            file = stack.enter_context(lock_file(path).open("ab"))
        yield file is None or _locked(file, wait=wait)


def lock_file(path: Path) -> Path:
    """Return the file that `lock` locks for `path`; it is not deleted when the lock is released."""
    return path.with_name(f".{path.name}.lock")


def _locked(file: IO[bytes], *, wait: bool) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        return not isinstance(error, BlockingIOError | PermissionError)  # EAGAIN or EACCES
    return True


def copy(source: Path, target: Path) -> None:
    """Copy a file's content so that `target` appears atomically."""
    with source.open("rb") as file, appearing(target) as out:
        shutil.copyfileobj(file, out, _CHUNK)


def sync(path: Path) -> None:
    """Sync a file's content to disk before anything refers to it."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make a rename durable; only POSIX systems can, and some file systems refuse."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _replace_folder(path: Path, fresh: Path) -> None:
    old = _beside(path)
    if path.exists():
        path.rename(old)
    try:
        fresh.rename(path)
    except OSError:
        # Without a lock another process may have been faster; its folder is equivalent.
        if not path.is_dir():
            raise
    shutil.rmtree(old, ignore_errors=True)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}{TEMPORARY}")


def _remove_leftovers(target: Path) -> None:
    """Remove folders that killed processes left beside `target`, whose lock is held."""
    if fcntl is None:
        return
    for leftover in target.parent.glob(f".{target.name}.*{TEMPORARY}"):
        shutil.rmtree(leftover, ignore_errors=True)
