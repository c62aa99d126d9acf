"""Measurement of one cell: corpus, encode, index, search, evaluate, profile."""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rankstone.arrays import Floats
from rankstone.benchmarks.dataset import CorpusIds, CorpusTexts, Dataset
from rankstone.benchmarks.store import open_dataset
from rankstone.encodings.cache import EncodingCache
from rankstone.encodings.cache_key import corpus_material
from rankstone.encodings.duplicates import encode_distinct
from rankstone.encodings.metering import metered
from rankstone.evaluation.evaluate import Evaluation, evaluate
from rankstone.execution.context import CellContext
from rankstone.execution.contract import hits_of, index_of, notes_of, one_each
from rankstone.execution.events import BOOKKEEPING, UNDER_LOAD, EventStream, bounded
from rankstone.execution.job import QUERY_BATCH, Job
from rankstone.execution.load.cold_start import Asked, ask_new_process
from rankstone.execution.load.measured import LoadRun
from rankstone.execution.load.updates import refuse_unchanging, with_updates
from rankstone.execution.timed_queries import time_queries
from rankstone.execution.training import (
    Seen,
    scored_unseen,
    seen,
    taught_by_split,
    trained_on,
)
from rankstone.profiling.clock import Clock
from rankstone.profiling.device import synchronise
from rankstone.profiling.gpu_load import sampled
from rankstone.profiling.latency import summarise
from rankstone.profiling.load import summarise_load
from rankstone.profiling.machine import environment, fingerprint
from rankstone.profiling.other_load import Reading
from rankstone.results.per_query import RawLoad, write_latency, write_load, write_per_query
from rankstone.results.record import (
    Filter,
    IndexSize,
    Latency,
    Load,
    Measured,
    MethodInfo,
    Profile,
    TaskInfo,
    TrainedOn,
    TruncationInfo,
)
from rankstone.results.trec_run import write_run
from rankstone.runners.api.budget import SPENT, Purse, paying
from rankstone.runners.construct import build_runner
from rankstone.runners.objects.method import unpack
from rankstone.runners.protocols import AnyIndex, AnyRunner, Hits, Truncation
from rankstone.runners.saved import throughout
from rankstone.runners.search.engines.servers.removal import servers_of_cell
from rankstone.runners.search.exactness import recall_of_exact
from rankstone.runners.search.filtered import FilteredSearch
from rankstone.specs import MethodSpec, TaskSpec
from rankstone.training.parts import RecipeRun

WARNINGS = 100
"""Warnings of libraries that a record keeps."""
INDEX, COLD = "index", "cold-start"
"""Folders of the saved index, and of the process that reads it."""


class CellRun:
    """One run of one cell; call `run` once."""

    def __init__(self, job: Job, events: EventStream) -> None:
        self.job = job
        self.events = events
        self.clock = Clock(events.progress)
        self._query_truncation: Truncation | None = None

    def run(self) -> Measured:
        """Return the measured part of the record; write its files to the job's staging folder."""
        purse = Purse(self.job.budget, ledger=self.job.staging / SPENT)
        with (
            paying(purse),
            sampled(self.clock, self.job.device),
            warnings.catch_warnings(record=True) as caught,
            tempfile.TemporaryDirectory(dir=self.job.staging, prefix="work-") as work,
            servers_of_cell(),
        ):
            warnings.simplefilter("default")
            with self.clock.phase("load"):
                dataset = open_dataset(self._task, self.job.sources)
            training = self._training(dataset)
            with self.clock.phase("load"):
                trained = training.trained()
                runner = build_runner(trained)
                name = self.job.method.name
                one_each(runner.encode(["warm up"], "query"), 1, name)  # loads the model
            cache = self._cache(dataset)
            documents = cache.chunks(runner)
            context = self._context(dataset, cache, Path(work))
            self._place_vectors()
            with self.clock.phase("index", items=len(dataset.corpus)):
                index = index_of(runner.index(documents, context), name)
            if self.job.load is not None and self.job.load.updates is not None:
                refuse_unchanging(index, dataset, name)
            before = Reading.now()
            hits = self._search(runner, index, dataset)
            with self.clock.phase("evaluate", items=len(dataset.query_ids)):
                evaluation = evaluate(
                    hits,
                    dataset,
                    measures=self.job.task.measures,
                    method=self.job.method.name,
                    cache=self.job.cache,
                )
            with self.clock.pause():
                latency = self._latency(runner, index, dataset)
                others = before.others_cores(Reading.now())
                latency = latency.model_copy(update={"others_cores": others})
                self.events.progress(BOOKKEEPING, 0, None)
                size = self._index_size(index, len(dataset.corpus), Path(work))
                first, found = dataset.query_texts[:QUERY_BATCH], hits.docs[:QUERY_BATCH]
                recall = recall_of_exact(runner, first, found, context, dataset.wheres)
                size = size.model_copy(update={"recall_10": recall})
                cold = self._job_of_new_process(trained, purse) if size.disk_bytes else None
                load = self._load(runner, index, dataset, cold, context)
                purse.take_over(Path(work) / COLD)
                apart = seen(dataset, self._taught(dataset, context, training))
                self._write_files(evaluation, dataset, apart)
                described = runner.describe()  # a server may be asked for it
            dataset.unchanged()
        return Measured(
            task=TaskInfo.of(self.job.task, dataset.facts(), text=self._task.text),
            method=MethodInfo.of(self.job.method, described).model_copy(
                update={"trained_on": self._trained_on(context)}
            ),
            measures=evaluation.measures,
            unseen=apart and scored_unseen(evaluation, apart),
            training=list(training.sections.values()),
            queries=evaluation.queries,
            truncation=_truncation(
                query=self._query_truncation,
                document=documents.truncation or cache.truncation,
                pair=context.pairs,
            ),
            profile=Profile(
                phases=self.clock.phases(),
                latency=latency,
                load=load,
                index=size,
                filter=filter_section(dataset, index),
                **cache.efficiency._asdict(),
            ),
            environment=environment(
                threads=self.job.threads,
                seed=self.job.seed,
                device=self.job.device,
                command=self.job.command,
                workspace=self.job.workspace,
            ),
            cache_keys=sorted({*cache.keys_hit, *cache.keys_filled}),
            resumed=cache.resumed,
            warnings=[*dataset.warnings, *cache.damaged, *notes_of(index), *_messages(caught)],
        )

    def _trained_on(self, context: CellContext) -> list[TrainedOn]:
        learnt, fitted = context.learnt, context.fitted
        return trained_on(self.job.method, self.job.task, learnt=learnt, fitted=fitted)

    def _training(self, dataset: Dataset) -> RecipeRun:
        return RecipeRun(
            method=unpack(self.job.method, self.job.staging),
            test=dataset,
            sources=self.job.sources,
            folder=self.job.cache / "checkpoints",
            threads=self.job.threads,
            clock=self.clock,
            progress=self.events.progress,
        )

    def _taught(
        self, dataset: Dataset, context: CellContext, training: RecipeRun
    ) -> NDArray[np.int64]:
        """Return the documents that are relevant in what the method learnt from."""
        by_split = taught_by_split(dataset) if context.learnt else np.empty(0, np.int64)
        by_recipes = np.array(sorted(training.taught), dtype=np.int64)
        return np.union1d(by_split, by_recipes)

    @property
    def _task(self) -> TaskSpec:
        """The task, with the method's text template if that has one."""
        text = self.job.method.text
        return self.job.task if text is None else self.job.task.model_copy(update={"text": text})

    def _place_vectors(self) -> None:
        """Have exact search hold its vectors on other nodes, where the job names some."""
        if self.job.slices:
            from rankstone.execution.cluster.slices import Builder
            from rankstone.runners.search.exact.flat import ELSEWHERE

            address, *nodes = self.job.slices
            ELSEWHERE.set(Builder(address, nodes))

    def _cache(self, dataset: Dataset) -> EncodingCache:
        material = corpus_material(dataset.sha256["corpus"], self._task.text)
        return EncodingCache(
            folder=self.job.cache / "encodings",
            corpus=dataset.corpus,
            key_material=material,
            clock=self.clock,
            progress=self.events.progress,
            hardware=f"{fingerprint()}, {self.job.threads} threads",
            use={"method": self.job.method.name, "task": self.job.task.name},
            unchanged=dataset.unchanged,
        )

    def _context(self, dataset: Dataset, cache: EncodingCache, work: Path) -> CellContext:
        return CellContext(
            texts=CorpusTexts(dataset.corpus),
            ids=CorpusIds(dataset.corpus),
            queries_of_training=dataset.train_queries,
            judgements_of_training=dataset.train_judgements,
            seed=self.job.seed,
            threads=self.job.threads,
            device=self.job.device,
            work=work,
            clock=self.clock,
            cache=cache,
            columns={} if dataset.filters is None else dataset.filters.columns,
            progress=self.events.progress,
        )

    def _depth(self, dataset: Dataset) -> int:
        """Return the hits to retrieve, with those that self hits and exclusions will cost."""
        return min(self.job.task.depth + dataset.spare, len(dataset.corpus))

    def _search(self, runner: AnyRunner, index: AnyIndex, dataset: Dataset) -> Hits:
        """Search all queries in batches; `evaluate` checks the hits."""
        k, texts, batches = self._depth(dataset), dataset.query_texts, list[Hits]()
        searching = FilteredSearch(index, dataset.wheres)
        for start in range(0, len(texts), QUERY_BATCH):
            batch = texts[start : start + QUERY_BATCH]
            with self.clock.pause():
                counts = runner.truncation(batch, "query")
                self._query_truncation = Truncation.add(self._query_truncation, counts)
            with metered(self.clock, "encode_queries", len(batch)):
                queries = encode_distinct(runner, batch, "query")
                one_each(queries, len(batch), self.job.method.name)
            with self.clock.phase("search", items=len(batch)):
                found = searching.search(queries, range(start, start + len(batch)), k)
                batches.append(hits_of(found, self.job.method.name))
            self.events.progress("search", start + len(batch), len(texts))
        docs, scores = map(np.concatenate, zip(*batches, strict=True))
        return Hits(docs, scores)

    def _latency(self, runner: AnyRunner, index: AnyIndex, dataset: Dataset) -> Latency:
        texts, k, progress = dataset.query_texts, self._depth(dataset), self.events.progress
        searching = FilteredSearch(index, dataset.wheres)

        def ask(row: int) -> tuple[float, float]:
            start = time.perf_counter()
            query = runner.encode([texts[row]], "query")
            synchronise()
            middle = time.perf_counter()
            searching.search(query, [row], k)
            synchronise()
            return (middle - start) * 1e3, (time.perf_counter() - middle) * 1e3

        progress("latency", 0, None)
        encode, search, warmup, queries = time_queries(
            ask, len(texts), seed=self.job.seed, report=lambda n: progress("latency", n, None)
        )
        write_latency(self.job.staging / "latency.parquet", encode_ms=encode, search_ms=search)
        facts = {"warmup": warmup, "threads": self.job.threads, "k": k, "queries": queries}
        return summarise(encode, search, **facts)

    def _job_of_new_process(self, trained: MethodSpec, purse: Purse) -> Job | None:
        """Return the job of a process that reads the saved index, unless that lies elsewhere."""
        given = {"method": trained, "budget": purse.left, "load": None}
        return None if self.job.slices else self.job.model_copy(update=given)

    def _load(
        self,
        runner: AnyRunner,
        index: AnyIndex,
        dataset: Dataset,
        cold: Job | None,
        context: CellContext,
    ) -> Load | None:
        """Return the figures under load, if the job has trials.

        Args:
            cold: job of a process that reads the index saved in the folder of `context`.
        """
        plan = self.job.load
        if plan is None:
            return None
        texts, task, k = dataset.query_texts, self.job.task, self._depth(dataset)
        work = context.work
        searching = FilteredSearch(index, dataset.wheres)

        def ask(row: int) -> Hits:
            found = searching.search(runner.encode([texts[row]], "query"), [row], k)
            synchronise()
            return hits_of(found, self.job.method.name)

        def ask_cold(rows: list[int]) -> Asked | None:
            read = (work / INDEX).exists() and hasattr(index, "load")  # unless it is on a server
            if cold is None or dataset.filters is not None or not read:
                return None
            asked = [texts[row] for row in rows]
            return ask_new_process(cold, index, work / INDEX, work / COLD, asked, k)

        def score(hits: Hits) -> Floats:
            name, cache = self.job.method.name, self.job.cache
            found = evaluate(hits, dataset, measures=[task.headline], method=name, cache=cache)
            return found.per_query[task.headline]

        run = LoadRun(
            plan,
            ask,
            len(texts),
            score,
            seed=self.job.seed,
            report=lambda done: self.events.progress(UNDER_LOAD, done, None),
        )
        self.events.progress(UNDER_LOAD, 0, None)
        requests = run.run(ask_cold)
        if plan.updates is not None:
            more = with_updates(plan, runner, index, dataset, ask, context)
            requests = RawLoad.joined([requests, more])
        write_load(self.job.staging / "load.parquet", requests)
        return summarise_load(plan, run.offered, requests, k)

    def _index_size(self, index: AnyIndex, n_documents: int, work: Path) -> IndexSize:
        """Return the sizes of the index: unknown where a part has no `nbytes`, or no `save`."""
        size = index.nbytes() if throughout(index, "nbytes") else None
        return IndexSize(
            memory_bytes=size,
            disk_bytes=_disk_bytes(index, work / INDEX),
            bytes_per_document=None if size is None else size / n_documents,
        )

    def _write_files(self, evaluation: Evaluation, dataset: Dataset, apart: Seen | None) -> None:
        staging, ranking = self.job.staging, evaluation.ranking
        write_per_query(
            staging / "per_query.parquet",
            dataset.query_ids,
            evaluation.per_query,
            apart and apart.unseen,
        )
        write_run(
            staging / "run.trec.zst",
            dataset.query_ids,
            ranking.docs,
            ranking.scores,
            dataset.corpus.ids,
            tag=self.job.method.name,
        )


def _disk_bytes(index: AnyIndex, folder: Path) -> int | None:
    """Return the bytes on disk that the index states itself, or those of its files."""
    if hasattr(index, "disk_bytes"):
        return index.disk_bytes()  # type: ignore[no-any-return]
    return _saved_bytes(index, folder) if throughout(index, "save") else None


def _saved_bytes(index: AnyIndex, folder: Path) -> int | None:
    """Save the index to measure its size, which stays unknown if the disk is too small."""
    folder.mkdir()
    try:
        index.save(folder)
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    except OSError as error:
        warnings.warn(f"the index could not be saved to measure its size: {error}", stacklevel=1)
        return None


def filter_section(dataset: Dataset, index: AnyIndex) -> Filter | None:
    """Return how `index` searches under the filters of the task, if it has any."""
    filters, task = dataset.filters, dataset.task
    if filters is None:
        return None
    judged, shares = dataset.judgements, filters.shares
    relevant = np.unique(judged.query[judged.label >= task.relevance])
    return Filter(
        how=FilteredSearch(index, filters.wheres).how,
        predicate=task.filter if isinstance(task.filter, str) else None,
        selectivity=float(np.mean(shares)),
        least=min(shares),
        most=max(shares),
        not_asked=filters.n_unjudged,
        without_relevant=0 if dataset.answers else len(shares) - len(relevant),
    )


def _truncation(**roles: Truncation | None) -> dict[Any, TruncationInfo]:
    return {
        role: TruncationInfo(**counts._asdict())
        for role, counts in roles.items()
        if counts is not None
    }


def _messages(caught: Sequence[warnings.WarningMessage]) -> list[str]:
    found = list(dict.fromkeys(bounded(f"{w.category.__name__}: {w.message}") for w in caught))
    left_out = len(found) - WARNINGS
    more = [f"{left_out:,} more warnings are left out"] if left_out > 0 else []
    return found[:WARNINGS] + more
