"""Encoded corpora: lazy, and kept in shards where encoding is dear."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rankstone.benchmarks.dataset import Corpus
from rankstone.execution.shards import (
    Cost,
    DamagedShardError,
    ShardInfo,
    open_shard,
    read_info,
    sweep,
    write_shard,
)  # fmt: skip
from rankstone.profiling.clock import Clock, peak_rss
from rankstone.runners.construct import file_digest
from rankstone.runners.protocols import AnyRunner, Truncation
from rankstone.runners.reps import concatenate, take
from rankstone.specs import canonical_digest

PHASE = "encode_documents"
SHARD_SIZE = 4096
"""Documents per shard: a minute or two of a small transformer on a CPU is what a kill can cost."""
SLICE = 128
"""Documents handed to a runner at once: a progress bar moves between slices. Part of the layout,
for the last bits of a vector depend on what is encoded together."""

LAZY_SIZE = 65_536
"""Documents encoded at once where encodings are not kept: a cheap encoder costs by its calls."""

Progress = Callable[[str, int, int], None]


@dataclass(kw_only=True)
class EncodingCache:
    """The encoded forms of one corpus.

    Shards lie in ``folder/<key>/``, and the key digests all that can change an encoding: what
    the runner says of itself, its adapter, and `key_material` (the digest of the corpus and the
    text template). Processes may share the folder: a shard is whole or not there, and whoever
    finishes last replaces it by its like.
    """

    folder: Path
    corpus: Corpus
    key_material: Mapping[str, Any]
    clock: Clock
    progress: Progress = lambda phase, done, total: None
    shard_size: int = SHARD_SIZE
    _opened: dict[str, ShardedChunks] = field(default_factory=dict, init=False, repr=False)

    def chunks(self, runner: AnyRunner) -> EncodedCorpus:
        """The corpus as `runner` encodes it; the same object for runners that encode alike."""
        if not runner.cacheable:
            return LazyChunks(self, runner)
        key = self.key(runner)
        if key not in self._opened:
            self._opened[key] = ShardedChunks(self, runner, key)
        return self._opened[key]

    def key(self, runner: AnyRunner) -> str:
        """sha256 over everything that can change what `runner` makes of the corpus."""
        kind = type(runner)
        adapter = {f"{kind.__module__}:{kind.__qualname__}": file_digest(kind)}
        layout = {"shard_size": self.shard_size, "slice": SLICE, "version": 1}
        material = {"corpus": dict(self.key_material), "adapter": adapter, "layout": layout}
        return canonical_digest({**material, "runner": runner.describe()})

    @property
    def keys_hit(self) -> list[str]:
        """Keys of which at least one shard was read instead of encoded, sorted."""
        return sorted(key for key, chunks in self._opened.items() if chunks.shards_hit)

    @property
    def keys_filled(self) -> list[str]:
        """Keys of which at least one shard was encoded, sorted."""
        return sorted(key for key, chunks in self._opened.items() if chunks.shards_filled)

    @property
    def damaged(self) -> list[str]:
        """Shards that were found damaged and were encoded again: file and fault."""
        return [fault for chunks in self._opened.values() for fault in chunks.damaged]

    @property
    def truncation(self) -> Truncation | None:
        """Of the corpora read from shards, summed: a composite's is that of its members."""
        total: Truncation | None = None
        for chunks in self._opened.values():
            total = _sum(total, chunks.truncation)
        return total

    @property
    def resumed(self) -> bool:
        """Whether some corpus was found partly encoded and was finished."""
        return any(chunks.resumed for chunks in self._opened.values())


class EncodedCorpus:
    """What lazy and sharded chunks share: access by position through an iteration."""

    truncation: Truncation | None

    def __init__(self, cache: EncodingCache, runner: AnyRunner, size: int) -> None:
        self._cache = cache
        self._runner = runner
        self._n = len(cache.corpus)
        self._size = size
        self._n_parts = -(-self._n // self._size)

    def __len__(self) -> int:
        return self._n

    def __iter__(self) -> Iterator[Any]:
        for part in range(self._n_parts):
            yield self._part(part)

    def take(self, positions: NDArray[np.int64]) -> Any:
        """The representations at `positions`, in that order; opens only the parts they lie in."""
        positions = np.asarray(positions, dtype=np.int64)
        if not len(positions):
            return self._runner.encode([], "document")
        order = np.argsort(positions, kind="stable")
        parts, starts = np.unique(positions[order] // self._size, return_index=True)
        taken = [
            take(self._part(int(part)), rows - part * self._size)
            for part, rows in zip(parts, np.split(positions[order], starts[1:]), strict=True)
        ]
        return take(concatenate(taken), np.argsort(order, kind="stable"))

    def sample(self, n: int, seed: int) -> Any:
        """`n` distinct documents (all, if fewer) drawn without replacement, in corpus order."""
        rng = np.random.default_rng(seed)
        chosen = rng.choice(self._n, size=min(n, self._n), replace=False, shuffle=False)
        return self.take(np.sort(chosen))

    def _part(self, part: int) -> Any:
        raise NotImplementedError

    def _bounds(self, part: int) -> tuple[int, int]:
        return part * self._size, min((part + 1) * self._size, self._n)


class LazyChunks(EncodedCorpus):
    """Encodings that are not worth keeping: made, and charged, whenever they are read."""

    def __init__(self, cache: EncodingCache, runner: AnyRunner) -> None:
        super().__init__(cache, runner, LAZY_SIZE)
        self.truncation = None
        self._counted: set[int] = set()

    def take(self, positions: NDArray[np.int64]) -> Any:
        """The representations at `positions`, in that order; only these are encoded."""
        with self._cache.clock.phase(PHASE, items=len(positions)):
            return self._runner.encode(self._cache.corpus.take(positions), "document")

    def _part(self, part: int) -> Any:
        start, stop = self._bounds(part)
        clock = self._cache.clock
        with clock.phase("load"):
            texts = self._cache.corpus.texts(start, stop)
        with clock.phase(PHASE, items=len(texts)):
            rep = self._runner.encode(texts, "document")
            self._cache.progress(PHASE, stop, self._n)
        if part not in self._counted:
            self._counted.add(part)
            with clock.pause():
                counts = self._runner.truncation(texts, "document")
            self.truncation = _sum(self.truncation, counts)
        return rep


class ShardedChunks(EncodedCorpus):
    """Encodings in checksummed, memory-mapped shards; a missing or damaged one is encoded."""

    def __init__(self, cache: EncodingCache, runner: AnyRunner, key: str) -> None:
        super().__init__(cache, runner, cache.shard_size)
        self.truncation = None
        self.shards_hit = 0
        self.shards_filled = 0
        self.damaged: list[str] = []
        """Shards that were found damaged and were encoded again: file and fault."""
        self._folder = cache.folder / key
        self._infos: dict[int, ShardInfo] = {}
        sweep(self._folder)
        present = sum(self._path(part).exists() for part in range(self._n_parts))
        self._partly_there = 0 < present < self._n_parts

    @property
    def resumed(self) -> bool:
        """Whether some, but not all, shards were there at the start, and the rest was encoded."""
        return self._partly_there and self.shards_filled > 0

    def _path(self, part: int) -> Path:
        return self._folder / f"{part:06d}.shard"

    def _part(self, part: int) -> Any:
        if part not in self._infos:
            info = self._found(part)
            if info is None:
                self._fill(part)
                with self._cache.clock.phase("load"):
                    info = self._read(part)
            self._infos[part] = info
            self.truncation = _sum(self.truncation, info.truncation)
        return open_shard(self._path(part), self._infos[part])

    def _read(self, part: int) -> ShardInfo:
        start, stop = self._bounds(part)
        return read_info(self._path(part), stop - start)

    def _found(self, part: int) -> ShardInfo | None:
        """A shard left by an earlier run, charged as it cost that run; None if there is none."""
        clock = self._cache.clock
        try:
            with clock.phase("load"):
                info = self._read(part)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except DamagedShardError as fault:
            self.damaged.append(str(fault))
            return None
        clock.add_cached(PHASE, info.documents, **info.cost._asdict())
        self.shards_hit += 1
        self._cache.progress(PHASE, self._bounds(part)[1], self._n)
        return info

    def _fill(self, part: int) -> None:
        """Encode a shard and write it; what is read back is what any later run will read."""
        start, stop = self._bounds(part)
        clock = self._cache.clock
        with clock.phase("load"):
            texts = self._cache.corpus.texts(start, stop)
        with clock.phase(PHASE, items=len(texts)):
            since = time.perf_counter(), time.process_time()
            rep = self._encode(texts, start)
            spent = time.perf_counter() - since[0], time.process_time() - since[1]
            cost = Cost(*spent, peak_rss_bytes=peak_rss())
        with clock.pause():
            counts = self._runner.truncation(texts, "document")
            write_shard(self._path(part), rep, documents=len(texts), cost=cost, truncation=counts)
        self.shards_filled += 1

    def _encode(self, texts: Sequence[str], done: int) -> Any:
        """All of `texts` in slices; `done` documents are encoded already, for the progress."""
        reps = []
        for start in range(0, len(texts), SLICE):
            reps.append(self._runner.encode(texts[start : start + SLICE], "document"))
            ready = min(start + SLICE, len(texts))
            self._cache.progress(PHASE, done + ready, self._n)
        return concatenate(reps)


def _sum(so_far: Truncation | None, more: Truncation | None) -> Truncation | None:
    if so_far is None or more is None:
        return so_far or more
    return so_far.plus(more)
