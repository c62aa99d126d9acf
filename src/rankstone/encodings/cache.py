"""Encoded corpora: computed lazily, and stored in shards if encoding is expensive."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rankstone.benchmarks.dataset import Corpus
from rankstone.encodings.cache_key import encoding_key, of_documents
from rankstone.encodings.duplicates import Ids, Repeats, find_repeats
from rankstone.encodings.encoded import EncodedCorpus
from rankstone.encodings.filling import PHASE, Filled, ShardWork, fill
from rankstone.encodings.metering import Efficiency, Kernel, efficiency, metered
from rankstone.encodings.shards import (
    Cost,
    DamagedShardError,
    ShardInfo,
    claimed,
    make_folder,
    note_use,
    open_shard,
    read_info,
    sweep,
    write_shard,
)
from rankstone.profiling.clock import Clock
from rankstone.progress import Progress, silent
from rankstone.runners.adapter_json import name_of
from rankstone.runners.protocols import AnyRunner, Truncation

SHARD_SIZE = 1024
"""Number of documents per shard. They are passed to the runner in one call, which is enough to sort
them into batches of similar length. A killed run loses at most one shard, and processes that encode
the same corpus take one shard each: three minutes at 5 documents per second. It is part of the key,
because the last bits of a vector depend on which texts are encoded together."""

LAZY_SIZE = 65_536
"""Number of documents encoded at once if encodings are not stored: calls dominate the cost of a
cheap encoder."""


@dataclass(kw_only=True)
class EncodingCache:
    """The encoded versions of one corpus.

    Shards are stored in ``folder/<key>/``. The key is a digest of everything that can change an
    encoding: the runner's description (see `of_documents`), its adapter, and `key_material` (the
    digest of the corpus and the text template). Processes that use the same folder share the work:
    a shard is either complete or absent, and is encoded by the process that claims it first.
    """

    folder: Path
    corpus: Corpus
    key_material: Mapping[str, Any]
    clock: Clock
    progress: Progress = silent
    hardware: str | None = None
    """Machine and threads, as in `Cost`."""
    use: Mapping[str, str] = field(default_factory=dict)
    """Method and task, shown in listings of the folder; not part of a key."""
    unchanged: Callable[[], None] | None = None
    """Raises a DataError if the corpus is no longer that of `key_material`."""
    shard_size: int = SHARD_SIZE
    _opened: dict[str, ShardedChunks] = field(default_factory=dict, init=False, repr=False)
    _lazy: list[LazyChunks] = field(default_factory=list, init=False, repr=False)

    def chunks(self, runner: AnyRunner) -> EncodedCorpus:
        """Return the corpus encoded by `runner`; the same object for runners with equal keys."""
        if not runner.cacheable:
            self._lazy.append(LazyChunks(self, runner))
            return self._lazy[-1]
        key = self.key(runner)
        if key not in self._opened:
            self._opened[key] = ShardedChunks(self, runner, key)
        return self._opened[key]

    def key(self, runner: AnyRunner) -> str:
        """Return the name of the folder with the corpus encoded by `runner`."""
        return encoding_key(runner, self.key_material, self.shard_size)

    @functools.cached_property
    def repeats(self) -> Repeats:
        """Documents with the same text as an earlier one."""
        return find_repeats(self.corpus, self.shard_size)

    @property
    def opened(self) -> Mapping[str, ShardedChunks]:
        """Sharded corpora that were read or encoded, by key."""
        return self._opened

    @property
    def keys_hit(self) -> list[str]:
        """Sorted keys with at least one shard that was read instead of encoded."""
        return sorted(key for key, chunks in self._opened.items() if chunks.shards_hit)

    @property
    def keys_filled(self) -> list[str]:
        """Sorted keys with at least one shard that was encoded."""
        return sorted(key for key, chunks in self._opened.items() if chunks.shards_filled)

    @property
    def damaged(self) -> list[str]:
        """Shards that were damaged and were encoded again: file and fault."""
        return [fault for chunks in self._opened.values() for fault in chunks.damaged]

    @property
    def truncation(self) -> Truncation | None:
        """Sum over everything that was read; for a composite, over its members."""
        read = (*self._opened.values(), *self._lazy)
        return functools.reduce(Truncation.add, (chunks.truncation for chunks in read), None)

    @property
    def efficiency(self) -> Efficiency:
        """Efficiency of encoding into shards; unknown if members use different kernels."""
        costs: dict[Kernel, list[Cost]] = {}
        for chunks in self._opened.values():
            if any(cost.flops for cost in chunks.costs):
                costs.setdefault(chunks.kernel, []).extend(chunks.costs)
        if len(costs) != 1:
            return Efficiency()
        return efficiency(*costs.values(), hardware=self.hardware)

    @property
    def resumed(self) -> bool:
        """True if a partly encoded corpus was found and completed."""
        return any(chunks.resumed for chunks in self._opened.values())


class LazyChunks(EncodedCorpus):
    """Encodings that are not worth storing: they are computed, and charged, on every read."""

    def __init__(self, cache: EncodingCache, runner: AnyRunner) -> None:
        super().__init__(len(cache.corpus), runner, LAZY_SIZE)
        self._cache = cache
        self.truncation = None
        self._counted: set[int] = set()

    def take(self, positions: NDArray[np.int64]) -> Any:
        """Return representations at `positions`, in that order; only these are encoded."""
        with metered(self._cache.clock, PHASE, len(positions)):
            return self._runner.encode(self._cache.corpus.take(positions), "document")

    def _part(self, part: int) -> Any:
        start, stop = self._bounds(part)
        clock = self._cache.clock
        with clock.phase("load"):
            texts = self._cache.corpus.texts(start, stop)
        with metered(clock, PHASE, len(texts)):
            rep = self._runner.encode(texts, "document")
            self._cache.progress(PHASE, stop, self._n)
        if part not in self._counted:
            self._counted.add(part)
            with clock.pause():
                counts = self._runner.truncation(texts, "document")
            self.truncation = Truncation.add(self.truncation, counts)
        return rep


class ShardedChunks(EncodedCorpus):
    """Encodings in checksummed, memory-mapped shards; missing or damaged shards are encoded."""

    def __init__(
        self, cache: EncodingCache, runner: AnyRunner, key: str, adapter: str | None = None
    ) -> None:
        """Create through `EncodingCache.chunks`.

        Args:
            adapter: class of the encoder, if `runner` describes one on another machine.
        """
        super().__init__(len(cache.corpus), runner, cache.shard_size)
        self._cache = cache
        self._adapter = adapter or name_of(type(runner))
        self.truncation = None
        self.shards_hit = 0
        self.shards_filled = 0
        self.kernel = Kernel.of(runner.describe())
        self._damaged: dict[int, str] = {}
        self._folder = cache.folder / key
        self._infos: dict[int, ShardInfo] = {}
        self._ready = 0
        self._peak: float | None = None
        sweep(self._folder)
        present = self._n_parts - len(self.missing())
        self._partial = 0 < present < self._n_parts
        if present:
            self._note_use()

    def __iter__(self) -> Iterator[Any]:
        for part in range(self._n_parts):
            self._provide(part, ahead=True)
            yield self._part(part)

    @property
    def costs(self) -> list[Cost]:
        """Costs of the shards that were read or encoded."""
        return [info.cost for info in self._infos.values()]

    @property
    def damaged(self) -> list[str]:
        """Shards that were damaged and were encoded again: file and fault."""
        return list(self._damaged.values())

    @property
    def resumed(self) -> bool:
        """True if only some shards existed at the start and others were encoded."""
        return self._partial and self.shards_filled > 0

    def _path(self, part: int) -> Path:
        return self._folder / f"{part:06d}.shard"

    def _note_use(self) -> None:
        runner, cache = self._runner, self._cache
        facts = {
            "adapter": self._adapter,
            "runner": of_documents(runner.describe()),
            "corpus": dict(cache.key_material),
            "documents": self._n,
            "shards": self._n_parts,
        }
        note_use(self._folder, facts, cache.use)

    def _part(self, part: int) -> Any:
        self._provide(part)
        return open_shard(self._path(part), self._infos[part])

    def _provide(self, part: int, *, ahead: bool = False) -> None:
        """Read shard `part`, encode it, or wait for another process that is encoding it.

        With `ahead`, encode shards that are needed later instead of waiting.
        """
        while part not in self._infos and not self._find(part) and not self._claim(part):
            if ahead and any(self._claim(other) for other in self._missing_after(part)):
                continue
            with self._cache.clock.pause(), claimed(self._path(part), wait=True):
                pass  # it exists now, or the process that claimed it has ended

    def _missing_after(self, part: int) -> Iterator[int]:
        """Yield further shards that no process has written yet."""
        for other in (*range(part + 1, self._n_parts), *range(part)):
            if other not in self._infos and not self.has(other):
                yield other

    def _claim(self, part: int) -> bool:
        """Encode the shard; return False if another process has claimed it."""
        if not self._folder.exists():
            make_folder(self._folder)
        with claimed(self._path(part)) as mine:
            if mine and not self._find(part):  # it may have been written a moment ago
                self._fill(part)
            return mine

    def _find(self, part: int) -> bool:
        """Read a shard of another run, with that run's cost; return False if there is none."""
        clock = self._cache.clock
        try:
            with clock.phase("load"):
                info = self._read(part)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except DamagedShardError as fault:
            self._damaged[part] = str(fault)
            return False
        clock.add_cached(PHASE, info.documents, **info.cost.charged())
        self.shards_hit += 1
        self._keep(part, info)
        return True

    def _read(self, part: int) -> ShardInfo:
        start, stop = self._bounds(part)
        return read_info(self._path(part), stop - start)

    def _keep(self, part: int, info: ShardInfo) -> None:
        self._infos[part] = info
        self._ready += info.documents
        self.truncation = Truncation.add(self.truncation, info.truncation)
        self._report(0)

    def _report(self, texts: int) -> None:
        """Report the complete shards, and `texts` of the shard that is being encoded."""
        self._cache.progress(PHASE, min(self._ready + texts, self._n), self._n)

    def _fill(self, part: int) -> None:
        """Encode and write a shard."""
        clock = self._cache.clock
        with clock.phase("load"):
            if not self.shards_filled:  # loads the model, which may differ from that of queries
                self._runner.encode([], "document")
            work = self.work(part)
        hardware, report = self._cache.hardware, self._report
        filled = fill(self._runner, work, clock, hardware=hardware, report=report)
        if self._peak is None and filled.cost.flops:
            with clock.pause():
                self._peak = self.kernel.peak()
        self._store(work, filled, self._peak)

    def missing(self) -> list[int]:
        """Return the shards that no process has written yet."""
        return [part for part in range(self._n_parts) if not self.has(part)]

    def has(self, part: int) -> bool:
        return self._path(part).exists()

    def needs(self, part: int) -> set[int]:
        """Return the earlier shards with texts that are repeated in shard `part`."""
        _, firsts = self._cache.repeats.of(*self._bounds(part))
        return set((firsts // self._size).tolist())

    def claimed(self, part: int) -> AbstractContextManager[bool]:
        """Claim shard `part` until the block ends; yield False if another process has it."""
        make_folder(self._folder)
        return claimed(self._path(part))

    def work(self, part: int) -> ShardWork:
        """Return the texts to encode for shard `part`."""
        start, stop = self._bounds(part)
        texts = self._cache.corpus.texts(start, stop)
        return ShardWork(part, texts, *self._known(start, texts))

    def _store(self, work: ShardWork, filled: Filled, peak: float | None) -> None:
        """Write a shard that was encoded here, and read it back as later runs do."""
        with self._cache.clock.pause():
            self.write(work, filled, peak)
        with self._cache.clock.phase("load"):
            info = self._read(work.part)
        self.add(work.part, info)

    def write(self, work: ShardWork, filled: Filled, peak: float | None) -> ShardInfo:
        """Write an encoded shard, from this or another machine; thread-safe.

        Args:
            peak: peak FLOP/s of the machine that encoded it.
        """
        rep = work.whole(filled.fresh, self.take)
        if self._cache.unchanged is not None:
            self._cache.unchanged()
        return write_shard(
            self._path(work.part),
            rep,
            documents=len(work.texts),
            cost=filled.cost._replace(peak_flops_per_s=peak),
            truncation=filled.truncation,
        )

    def add(self, part: int, info: ShardInfo) -> None:
        """Count a shard that was encoded and written."""
        if not self.shards_filled:
            self._note_use()
        self.shards_filled += 1
        self._keep(part, info)

    def _known(self, start: int, texts: Sequence[str]) -> tuple[Ids, Ids]:
        """Return the rows of `texts` (documents from `start` on) whose text is in an earlier
        complete shard, and the documents with that text there."""
        documents, firsts = self._cache.repeats.of(start, start + len(texts))
        if not len(documents):
            return documents, firsts
        parts = np.unique(firsts // self._size).tolist()
        ready = [part for part in parts if part in self._infos or self._find(part)]
        rows, kept = documents - start, np.isin(firsts // self._size, ready)
        same = zip(rows.tolist(), self._cache.corpus.take(firsts), strict=True)
        kept &= np.array([texts[row] == text for row, text in same])
        return rows[kept], firsts[kept]
