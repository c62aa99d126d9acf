"""Measurement of a sample of a cell, by the code of `CellRun`."""

from __future__ import annotations

import functools
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rankstone.arrays import Ints
from rankstone.benchmarks.dataset import Dataset
from rankstone.benchmarks.store import open_dataset
from rankstone.encodings.cache import EncodingCache
from rankstone.encodings.duplicates import encode_distinct
from rankstone.encodings.inventory import Entry
from rankstone.evaluation.evaluate import evaluate
from rankstone.execution.cell import INDEX, CellRun
from rankstone.execution.context import CellContext
from rankstone.execution.contract import hits_of, index_of, index_size
from rankstone.execution.forecasts.sample_cache import SampleCache, Source, share_stored
from rankstone.execution.forecasts.sample_data import Lengths, sampled
from rankstone.execution.forecasts.sampled import Sampled, Size, Stored
from rankstone.profiling.clock import Clock
from rankstone.profiling.memory import resident_limit
from rankstone.runners.construct import build_runner, untrained
from rankstone.runners.index_sizes import index_bytes, is_read_from_disk
from rankstone.runners.objects.method import unpack
from rankstone.runners.protocols import AnyIndex, AnyRunner, Hits
from rankstone.runners.search.engines.servers.removal import servers_of_cell

FIRST, FACTOR = 4, 4
"""Number of documents of the first sample, and the factor from one to the next."""
ENCODE_S, BUILD_S, ASK_S = 8.0, 4.0, 0.5
"""Approximate maximum seconds of the largest sample: to encode, to index, and to search."""
TOTAL_S = 15.0
"""Seconds after which no larger sample is started."""
REPEATED = 65_536
"""Maximum number of documents of an index over repeated encodings."""
QUERIES = 32
ENCODING = ("load", "encode_documents")


@dataclass(kw_only=True)
class _Built:
    """An index over a sample."""

    dataset: Dataset
    clock: Clock
    cache: EncodingCache
    index: AnyIndex
    seconds: float


class SampledCell(CellRun):
    """A cell of which only a sample is measured."""

    def sample(self) -> Sampled:
        """Measure samples of growing size until they take long enough."""
        with (
            warnings.catch_warnings(),
            tempfile.TemporaryDirectory(dir=self.job.staging, prefix="work-") as work,
            servers_of_cell(),
        ):
            warnings.simplefilter("ignore")
            began = time.perf_counter()
            with self.clock.phase("load"):
                dataset = open_dataset(self._task, self.job.sources)
                self.runner = build_runner(untrained(unpack(self.job.method, self.job.staging)))
                self.runner.encode(["warm up"], "query")
            load_s = time.perf_counter() - began
            self.work, self.whole = Path(work), dataset
            self.real = self._cache(dataset)
            self.one_off_s, self.evaluate_s = 0.0, 0.0
            self.shares: dict[str, float] = {}
            lengths, limit = Lengths(dataset.corpus, self.job.seed), resident_limit()
            sizes = [*self._encoded(lengths), *self._repeated()]
            return Sampled(
                documents=len(dataset.corpus),
                queries=len(dataset.query_ids),
                distinct=len(self.positions),
                start_s=-(time.perf_counter() - began),
                load_s=load_s + self.one_off_s,
                load_peak_bytes=self.clock.phases()["load"].peak_rss_bytes or 0,
                evaluate_s=self.evaluate_s,
                sizes=tuple(sizes),
                stored=tuple(self._stored()),
                gpu=self.job.device.startswith("cuda"),
                index_bytes=index_bytes(self.runner, len(dataset.corpus), resident_limit=limit),
                most_bytes=limit if is_read_from_disk(self.runner) else None,
            )

    def _encoded(self, lengths: Lengths) -> Iterator[Size]:
        """Yield costs over distinct documents, and keep the cache of the last sample."""
        n, most, before = FIRST, len(lengths.positions), 0.0
        began = time.monotonic()
        while True:
            self.positions = lengths.chosen(min(n, most))
            built = self._built(self.positions, self._in_cache)
            self.cache = built.cache
            yield self._size(built)
            expected = built.seconds + FACTOR * max(built.seconds - before, 0.0)
            late = expected > ENCODE_S or time.monotonic() - began > TOTAL_S
            if n >= most or (n > FIRST and late):
                return  # the first includes one-off costs, and a line needs a second
            n, before = n * FACTOR, built.seconds

    def _repeated(self) -> Iterator[Size]:
        """Yield costs over repetitions of the last sample, whose encodings are stored."""
        n = len(self.positions)
        most = min(len(self.whole.corpus), REPEATED)
        began, expected, before = time.monotonic(), 0.0, 0.0
        while n < most and expected <= BUILD_S and self.shares:
            n = min(n * FACTOR, most)
            rows = np.arange(n) % len(self.positions)
            built = self._built(self.positions[rows], functools.partial(self._stored_at, rows))
            yield self._size(built)
            expected = built.seconds + FACTOR * max(built.seconds - before, 0.0)
            before = built.seconds
            if time.monotonic() - began > TOTAL_S:
                return

    def _stored_at(self, rows: Ints, runner: AnyRunner) -> Source:
        """Return the location of the encodings at `rows` of the last sample."""
        return self._in_cache(runner, rows) or (self.cache, rows)

    def _in_cache(self, runner: AnyRunner, rows: Ints | None = None) -> Source | None:
        """Return the cell's own cache if it contains the whole corpus."""
        key = self.real.key(runner)
        self.shares.setdefault(key, share_stored(self.real, key))
        if self.shares[key] < 1:
            return None
        return self.real, self.positions if rows is None else self.positions[rows]

    def _built(self, positions: Ints, source: Callable[[AnyRunner], Source | None]) -> _Built:
        dataset = sampled(self.whole, positions, len(self.whole.query_ids))
        clock = Clock()
        cache = SampleCache(
            folder=Path(tempfile.mkdtemp(dir=self.work)),
            corpus=dataset.corpus,
            key_material=self.real.key_material,
            clock=clock,
            source=source,
        )
        work = Path(tempfile.mkdtemp(dir=self.work))
        context: CellContext = self._context(dataset, cache, work)
        context.clock = clock
        began = time.perf_counter()
        with clock.phase("index"):
            made = self.runner.index(cache.chunks(self.runner), context)
            index = index_of(made, self.job.method.name)
        seconds = time.perf_counter() - began
        return _Built(dataset=dataset, clock=clock, cache=cache, index=index, seconds=seconds)

    def _size(self, built: _Built) -> Size:
        phases = built.clock.phases()
        build_s = sum(phase.wall_s for name, phase in phases.items() if name not in ENCODING)
        first_s, _ = self._ask(built, slice(0, 1))
        single_s, single_rerank_s = self._ask(built, slice(1, 2))
        self.one_off_s = max(self.one_off_s, first_s - single_s)
        batch = slice(0, min(QUERIES, max(1, int(ASK_S / (single_s + single_rerank_s)))))
        search_s, rerank_s = self._ask(built, batch, evaluated=True)
        saved = time.perf_counter()
        work = Path(tempfile.mkdtemp(dir=self.work))
        size = index_size(built.index, len(built.dataset.corpus), work / INDEX)
        phases = built.clock.phases()
        peaks = {name: phase.peak_rss_bytes or 0 for name, phase in phases.items()}
        return Size(
            documents=len(built.dataset.corpus),
            encode_s=built.seconds - build_s,
            build_s=build_s,
            search_s=search_s,
            rerank_s=rerank_s,
            latency_s=single_s,
            single_rerank_s=single_rerank_s,
            save_s=time.perf_counter() - saved,
            encode_peak_bytes=peaks.pop("encode_documents", 0),
            peak_bytes=max(peaks.values()),
            index_bytes=size.memory_bytes,
            disk_bytes=size.disk_bytes,
        )

    def _ask(self, built: _Built, rows: slice, *, evaluated: bool = False) -> tuple[float, float]:
        """Return the seconds per query without reranking, and those of reranking."""
        texts = list(built.dataset.query_texts[rows]) or list(built.dataset.query_texts[:1])
        before, began = self._reranking(built), time.perf_counter()
        with built.clock.phase("search"):
            queries = encode_distinct(self.runner, texts, "query")
            hits = hits_of(built.index.search(queries, self._depth(built.dataset)), "")
        seconds = time.perf_counter() - began
        if evaluated:
            self._evaluate(hits, built)
        rerank = self._reranking(built) - before
        return (seconds - rerank) / len(texts), rerank / len(texts)

    def _reranking(self, built: _Built) -> float:
        phase = built.clock.phases().get("rerank")
        return phase.wall_s if phase else 0.0

    def _evaluate(self, hits: Hits, built: _Built) -> None:
        n = len(hits.docs)
        dataset = sampled(built.dataset, np.arange(len(built.dataset.corpus)), n)
        began = time.perf_counter()
        evaluate(
            hits,
            dataset,
            measures=self.job.task.measures,
            method=self.job.method.name,
            cache=self.work,
        )
        self.evaluate_s = (time.perf_counter() - began) / n

    def _stored(self) -> Iterator[Stored]:
        n = len(self.whole.corpus)
        for key, share in self.shares.items():
            entry, chunks = Entry(self.real.folder / key), self.cache.opened.get(key)
            costs = [] if chunks is None else chunks.costs
            made = Entry(self.cache.folder / key)
            size = entry.size_bytes / share if share else made.size_bytes / len(self.positions) * n
            yield Stored(cached=share, seconds=sum(cost.wall_s for cost in costs), bytes=int(size))
