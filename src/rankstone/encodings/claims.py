"""Which process encodes which shard, where several fill one folder at once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from rankstone.files import lock, lock_file


@contextlib.contextmanager
def claimed(shard: Path, *, wait: bool = False) -> Iterator[bool]:
    """True where the file `shard` is this process's to encode, until the block ends.

    Where locks cannot be had everything is granted: a shard encoded twice is replaced by its like.

    Args:
        wait: wait for the process that holds the claim, instead of being refused.
    """
    with lock(shard, wait=wait) as mine:
        yield mine
        if mine and shard.exists():  # no lock is needed any more
            lock_file(shard).unlink(missing_ok=True)
