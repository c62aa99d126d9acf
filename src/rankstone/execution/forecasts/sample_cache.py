"""Encodings of a sample: read from the cache if it has the whole corpus, else computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from rankstone.arrays import Ints
from rankstone.encodings.cache import SHARD_SIZE, EncodingCache
from rankstone.encodings.encoded import EncodedCorpus
from rankstone.encodings.inventory import Entry
from rankstone.runners.protocols import AnyRunner


class View(EncodedCorpus):
    """Representations at `rows` of another encoded corpus, read on demand."""

    truncation = None

    def __init__(self, runner: AnyRunner, source: EncodedCorpus, rows: Ints) -> None:
        # Repetitions of fewer documents than a shard are separate parts.
        super().__init__(len(rows), runner, min(SHARD_SIZE, len(source), len(rows)) or 1)
        self._source, self._rows = source, rows

    def take(self, positions: Ints) -> Any:
        return self._source.take(self._rows[positions])

    def _part(self, part: int) -> Any:
        """Return a part of a shard as it is stored, if its rows are consecutive."""
        rows = self._rows[slice(*self._bounds(part))]
        shard, start = divmod(int(rows[0]), SHARD_SIZE)
        if start + len(rows) > SHARD_SIZE or (np.diff(rows) != 1).any():
            return self._source.take(rows)
        return self._source.part(shard)[start : start + len(rows)]


Source = tuple[EncodingCache, "Ints"]


@dataclass(kw_only=True)
class SampleCache(EncodingCache):
    """Encodings of some documents, read from `source` if it provides their locations."""

    source: Callable[[AnyRunner], Source | None]
    """Returns a cache with the encodings, and the rows of these documents in it."""

    def chunks(self, runner: AnyRunner) -> EncodedCorpus:
        found = self.source(runner) if runner.cacheable else None
        if found is None:
            return super().chunks(runner)
        cache, rows = found
        return View(runner, cache.chunks(runner), rows)


def share_stored(cache: EncodingCache, key: str) -> float:
    """Return the share of the shards of `key` that are in the cache."""
    entry = Entry(cache.folder / key)
    if not entry.folder.is_dir():
        return 0.0
    return len(entry.shards) / (entry.expected or len(entry.shards) or 1)
