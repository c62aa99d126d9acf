"""The folder of encodings: entries are listed, verified and removed."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rankstone.encodings.shards import ABOUT, DamagedShardError, read_about, read_info
from rankstone.errors import DataError, did_you_mean
from rankstone.strict import named_among

DIGEST = 64
"""Length of a key."""
SHOWN = 12
"""Number of digits of a key that are shown; any unique prefix is accepted as a name."""


@dataclass(frozen=True)
class Entry:
    """The folder of one key."""

    folder: Path

    @property
    def key(self) -> str:
        return self.folder.name

    @property
    def short_key(self) -> str:
        return self.key[:SHOWN]

    @cached_property
    def about(self) -> dict[str, Any]:
        return read_about(self.folder)

    @cached_property
    def shards(self) -> list[Path]:
        return sorted(self.folder.glob("*.shard"))

    @cached_property
    def size_bytes(self) -> int:
        """Size of all files in the folder, including unfinished files of killed runs."""
        return sum(_stat(path)[0] for path in self.folder.iterdir())

    @property
    def expected(self) -> int | None:
        """Number of shards of the whole corpus; None if the folder does not state it."""
        expected = self.about.get("shards")
        return expected if isinstance(expected, int) else None

    @property
    def whole(self) -> bool:
        return len(self.shards) == self.expected

    @property
    def used(self) -> float:
        """Time of the last use by a run, in seconds since the epoch."""
        marks = [self.folder / ABOUT, *self.shards, self.folder]
        return max((_stat(path)[1] for path in marks[: 1 if self.about else None]), default=0.0)

    def uses(self, kind: str) -> list[str]:
        """Return the distinct methods or tasks (`kind`) whose runs filled or read the folder."""
        return list(dict.fromkeys(use[kind] for use in self.about.get("uses", []) if kind in use))

    @property
    def kernel(self) -> str:
        """Engine and precision, as the runner describes them."""
        runner = self.about.get("runner", {})
        parts = (runner.get("engine"), runner.get("precision") or runner.get("dtype"))
        return ", ".join(str(part) for part in parts if part)

    def faults(self) -> Iterator[str]:
        """Read every byte; yield a message for each damaged shard."""
        for path in self.shards:
            try:
                read_info(path)
            except DamagedShardError as fault:
                yield str(fault)
            except OSError as error:
                yield f"{path}: cannot be read: {error.strerror or error}"

    def remove(self) -> int:
        """Delete the folder and return the bytes freed; DataError if it cannot be deleted."""
        size = self.size_bytes
        try:
            shutil.rmtree(self.folder)
        except OSError as error:
            raise DataError(f"{self.folder}: cannot be deleted: {error.strerror}.") from error
        return size


def entries(folder: Path) -> list[Entry]:
    """Return the entries of `folder`, most recently used first."""
    found = []
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        found = [Entry(path) for path in folder.iterdir() if _is_key(path)]
    return sorted(found, key=lambda entry: (-entry.used, entry.key))


def _is_key(path: Path) -> bool:
    return len(path.name) == DIGEST and set(path.name) <= set("0123456789abcdef") and path.is_dir()


def named(present: Sequence[Entry], names: Iterable[str]) -> list[Entry]:
    """Return the entries of `names`: keys, prefixes of keys, or methods (`family/name`, `name`).

    Raises DataError, with similar names, if a name matches no entry, or a prefix several keys.
    """
    chosen: dict[str, Entry] = {}
    for name in names:
        of_method = [entry for entry in present if named_among(name, entry.uses("method"))]
        found = of_method or [e for e in present if e.key.startswith(name)]
        if not found:
            raise DataError(
                f"'{name}' is neither a key nor a method of the cache.{_near(present, name)}"
            )
        if len(found) > 1 and not of_method:
            keys = ", ".join(entry.short_key for entry in found)
            raise DataError(f"'{name}' is a prefix of several keys: {keys}. Give more digits.")
        chosen |= {entry.key: entry for entry in found}
    return list(chosen.values())


def _near(present: Sequence[Entry], name: str) -> str:
    methods = [method for entry in present for method in entry.uses("method")]
    keys = [entry.key[: max(len(name), SHOWN)] for entry in present]
    return did_you_mean(name, [*methods, *keys]) + " (rankstone cache ls)"


def _stat(path: Path) -> tuple[int, float]:
    """Return size in bytes and modification time; zeros for a file that was deleted meanwhile."""
    try:
        stat = path.stat()
    except OSError:
        return 0, 0.0
    return stat.st_size, stat.st_mtime
