"""Measurement of one cell: corpus, encode, index, search, evaluate, profile."""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from rankstone.encodings.encoded import EncodedCorpus
from rankstone.encodings.metering import metered
from rankstone.evaluation.evaluate import Evaluation, evaluate
from rankstone.execution.context import CellContext
from rankstone.execution.contract import (
    filter_section,
    hits_of,
    index_of,
    index_size,
    notes_of,
    one_each,
)
from rankstone.execution.events import BOOKKEEPING, UNDER_LOAD, EventStream, messages
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
from rankstone.profiling.machine import fingerprint
from rankstone.profiling.other_load import Reading
from rankstone.results.per_query import RawLoad, write_latency, write_load, write_per_query
from rankstone.results.record import (
    Latency,
    Load,
    Measured,
    MethodInfo,
    Profile,
    TaskInfo,
    TruncationInfo,
)
from rankstone.results.trec_run import write_run
from rankstone.runners.api.budget import SPENT, Purse, paying
from rankstone.runners.construct import build_runner
from rankstone.runners.objects.method import unpack
from rankstone.runners.protocols import AnyIndex, AnyRunner, Hits, Truncation
from rankstone.runners.search.engines.servers.removal import servers_of_cell
from rankstone.runners.search.exactness import recall_of_exact
from rankstone.runners.search.filtered import FilteredSearch
from rankstone.specs import MethodSpec, TaskSpec
from rankstone.training.parts import RecipeRun

INDEX, COLD = "index", "cold-start"
"""Folders of the saved index, and of the process that reads it."""


@dataclass(frozen=True)
class _Made:
    """An index, and the objects from which it was built."""

    dataset: Dataset
    training: RecipeRun
    method: MethodSpec
    """The method with the weights that its recipes trained."""
    runner: AnyRunner
    cache: EncodingCache
    documents: EncodedCorpus
    context: CellContext
    index: AnyIndex

    def searching(self) -> FilteredSearch:
        return FilteredSearch(self.index, self.dataset.wheres)

    def warnings(self) -> list[str]:
        return [*self.dataset.warnings, *self.cache.damaged, *notes_of(self.index)]


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
            made = self._made(Path(work))
            before = Reading.now()
            hits = self._search(made)
            with self.clock.phase("evaluate", items=len(made.dataset.query_ids)):
                evaluation = self._evaluation(hits, made.dataset, self.job.task.measures)
            with self.clock.pause():
                costs = self._costs(made, hits, before, purse)
                apart = seen(made.dataset, self._training_documents(made))
                self._write_files(evaluation, made.dataset, apart)
                described = made.runner.describe()  # may request it from a server
            made.dataset.unchanged()
        return Measured(
            **self._about(made, described),
            **self._results(made, evaluation, apart),
            profile=Profile(phases=self.clock.phases(), **costs, **made.cache.efficiency._asdict()),
            warnings=[*made.warnings(), *messages(caught)],
        )

    def _made(self, work: Path) -> _Made:
        """Return the index over the encoded corpus, with the objects from which it was built."""
        name, load = self.job.method.name, self.job.load
        with self.clock.phase("load"):
            dataset = open_dataset(self._task, self.job.sources)
        training = self._training(dataset)
        with self.clock.phase("load"):
            method = training.trained()
            runner = build_runner(method)
            one_each(runner.encode(["warm up"], "query"), 1, name)  # loads the model
        cache = self._cache(dataset)
        documents = cache.chunks(runner)
        context = self._context(dataset, cache, work)
        self._distribute_vectors()
        with self.clock.phase("index", items=len(dataset.corpus)):
            index = index_of(runner.index(documents, context), name)
        if load is not None and load.updates is not None:
            refuse_unchanging(index, dataset, name)
        return _Made(dataset, training, method, runner, cache, documents, context, index)

    def _costs(self, made: _Made, hits: Hits, before: Reading, purse: Purse) -> dict[str, Any]:
        """Return the sections of the profile that are measured after the results."""
        dataset, index, work = made.dataset, made.index, made.context.work
        latency = self._latency(made)
        others = before.others_cores(Reading.now())
        self.events.progress(BOOKKEEPING, 0, None)
        size = index_size(index, len(dataset.corpus), work / INDEX)
        first, found = dataset.query_texts[:QUERY_BATCH], hits.docs[:QUERY_BATCH]
        recall = recall_of_exact(made.runner, first, found, made.context, dataset.wheres)
        cold = self._job_of_new_process(made.method, purse) if size.disk_bytes else None
        load = self._load(made, cold)
        purse.take_over(work / COLD)
        return {
            "latency": latency.model_copy(update={"others_cores": others}),
            "load": load,
            "index": size.model_copy(update={"recall_10": recall}),
            "filter": filter_section(dataset, index),
        }

    def _about(self, made: _Made, described: Mapping[str, Any]) -> dict[str, Any]:
        """Return the sections that describe the run and its environment."""
        job, learnt, fitted = self.job, made.context.learnt, made.context.fitted
        trained = trained_on(job.method, job.task, learnt=learnt, fitted=fitted)
        method = MethodInfo.of(job.method, described)
        return {
            "task": TaskInfo.of(job.task, made.dataset.facts(), text=self._task.text),
            "method": method.model_copy(update={"trained_on": trained}),
            "training": list(made.training.sections.values()),
            "environment": job.environment(),
            "cache_keys": sorted({*made.cache.keys_hit, *made.cache.keys_filled}),
            "resumed": made.cache.resumed,
        }

    def _results(self, made: _Made, evaluation: Evaluation, apart: Seen | None) -> dict[str, Any]:
        return {
            "measures": evaluation.measures,
            "unseen": apart and scored_unseen(evaluation, apart),
            "queries": evaluation.queries,
            "truncation": _truncation(
                query=self._query_truncation,
                document=made.documents.truncation or made.cache.truncation,
                pair=made.context.pairs,
            ),
        }

    def _evaluation(self, hits: Hits, dataset: Dataset, measures: Sequence[str]) -> Evaluation:
        name, cache = self.job.method.name, self.job.cache
        return evaluate(hits, dataset, measures=measures, method=name, cache=cache)

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

    def _training_documents(self, made: _Made) -> NDArray[np.int64]:
        """Return the documents that are relevant in the method's training data."""
        learnt = made.context.learnt
        by_split = taught_by_split(made.dataset) if learnt else np.empty(0, np.int64)
        by_recipes = np.array(sorted(made.training.taught), dtype=np.int64)
        return np.union1d(by_split, by_recipes)

    @property
    def _task(self) -> TaskSpec:
        """The task, with the method's text template if it has one."""
        text = self.job.method.text
        return self.job.task if text is None else self.job.task.model_copy(update={"text": text})

    def _distribute_vectors(self) -> None:
        """Make exact search store its vectors on other nodes, if the job names some."""
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
        """Return the number of hits to retrieve, including those that may be removed as self hits
        or exclusions."""
        return min(self.job.task.depth + dataset.spare, len(dataset.corpus))

    def _search(self, made: _Made) -> Hits:
        """Search all queries in batches; `evaluate` checks the hits."""
        runner, texts, searching = made.runner, made.dataset.query_texts, made.searching()
        k, batches = self._depth(made.dataset), list[Hits]()
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

    def _latency(self, made: _Made) -> Latency:
        runner, texts, searching = made.runner, made.dataset.query_texts, made.searching()
        k, progress = self._depth(made.dataset), self.events.progress

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
        """Return the job of a process that reads the saved index; None if the index is
        elsewhere."""
        given = {"method": trained, "budget": purse.left, "load": None}
        return None if self.job.slices else self.job.model_copy(update=given)

    def _load(self, made: _Made, cold: Job | None) -> Load | None:
        """Return the figures under load, if the job has trials.

        Args:
            cold: job of a process that reads the saved index.
        """
        plan = self.job.load
        if plan is None:
            return None
        runner, index, dataset, work = made.runner, made.index, made.dataset, made.context.work
        texts, task, k = dataset.query_texts, self.job.task, self._depth(dataset)
        searching = made.searching()

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
            return self._evaluation(hits, dataset, [task.headline]).per_query[task.headline]

        def report(done: int) -> None:
            self.events.progress(UNDER_LOAD, done, None)

        run = LoadRun(plan, ask, len(texts), score, seed=self.job.seed, report=report)
        report(0)
        requests = run.run(ask_cold)
        if plan.updates is not None:
            more = with_updates(plan, runner, index, dataset, ask, made.context)
            requests = RawLoad.joined([requests, more])
        write_load(self.job.staging / "load.parquet", requests)
        return summarise_load(plan, run.offered, requests, k)

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


def _truncation(**roles: Truncation | None) -> dict[Any, TruncationInfo]:
    return {
        role: TruncationInfo(**counts._asdict())
        for role, counts in roles.items()
        if counts is not None
    }
