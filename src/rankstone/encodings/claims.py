"""Who encodes which shard, where several processes fill one folder at once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

with contextlib.suppress(ImportError):  # not POSIX: two processes may encode the same shard
    import fcntl

FILE = ".claims"


@contextlib.contextmanager
def claimed(folder: Path, part: int, *, wait: bool = False) -> Iterator[bool]:
    """Whether shard `part` of `folder` is this process's to encode, until the block ends.

    A claim is a lock on byte `part` of one file: the system drops it with the process, however
    that ends. A process holds one claim at a time. Where locks cannot be had everything is granted:
    a shard encoded twice is replaced by its like.

    Args:
        wait: wait for the process that holds the claim, instead of being refused.
    """
    with contextlib.ExitStack() as stack:
        file = _opened(folder)
        if file is None:
            yield True
            return
        yield _lock(stack.enter_context(file), part, wait=wait)


def _opened(folder: Path) -> IO[bytes] | None:
    try:
        return (folder / FILE).open("ab", buffering=0) if "fcntl" in globals() else None
    except OSError:
        return None


def _lock(file: IO[bytes], part: int, *, wait: bool) -> bool:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB), 1, part)
    except (BlockingIOError, PermissionError):  # EAGAIN or EACCES, as POSIX lets them
        return False
    except OSError:
        return True
    return True
