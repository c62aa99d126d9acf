"""Encodings of a sample: read from the cache where the whole corpus is there, else made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rankstone.arrays import Ints
from rankstone.encodings.cache import SHARD_SIZE, EncodedCorpus, EncodingCache
from rankstone.encodings.inventory import Entry
from rankstone.runners.protocols import AnyRunner


class View(EncodedCorpus):
    """Representations of another encoded corpus at `rows`, read when they are needed."""

    truncation = None

    def __init__(
        self, cache: EncodingCache, runner: AnyRunner, source: EncodedCorpus, rows: Ints
    ) -> None:
        super().__init__(cache, runner, SHARD_SIZE)
        self._source, self._rows = source, rows

    def take(self, positions: Ints) -> Any:
        return self._source.take(self._rows[positions])

    def _part(self, part: int) -> Any:
        return self._source.take(self._rows[slice(*self._bounds(part))])


Source = tuple[EncodingCache, "Ints"]


@dataclass(kw_only=True)
class SampleCache(EncodingCache):
    """Encodings of some documents, those of `source` where it names where they are."""

    source: Callable[[AnyRunner], Source | None]
    """Returns a cache with the encodings, and the rows of these documents there."""

    def chunks(self, runner: AnyRunner) -> EncodedCorpus:
        found = self.source(runner) if runner.cacheable else None
        if found is None:
            return super().chunks(runner)
        cache, rows = found
        return View(self, runner, cache.chunks(runner), rows)


def share_stored(cache: EncodingCache, key: str) -> float:
    """Return the share of the shards of `key` that are in the cache."""
    entry = Entry(cache.folder / key)
    if not entry.folder.is_dir():
        return 0.0
    return len(entry.shards) / (entry.expected or len(entry.shards) or 1)
