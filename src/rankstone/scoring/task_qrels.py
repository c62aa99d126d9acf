"""Judgements against which runs are scored, from a data set or from a task without one."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rankstone.benchmarks.dataset import BLOCK, Dataset, RawJudgements, Sources
from rankstone.benchmarks.judgements import judged_queries
from rankstone.benchmarks.store import ask_loader, open_dataset
from rankstone.evaluation.evaluate import qrels_by_answers, qrels_of
from rankstone.progress import Progress, silent
from rankstone.results.record import TaskInfo
from rankstone.results.trec_run import Run, read_run
from rankstone.specs import TaskSpec


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Judgements of one task."""

    task: TaskSpec
    qrels: dict[str, dict[str, int]]
    """Labels by query and document id, for every judged query; empty if judged by answers."""
    info: TaskInfo
    """The task as records describe it."""
    dataset: Dataset | None
    """None if the task has only judgements."""
    warnings: tuple[str, ...]
    excluded_labels: Collection[int] = ()
    """Labels of documents that are removed from the results of their query."""
    cache: Path | None = None
    """Folder that stores matches of passages with answers."""

    def read(self, path: Path) -> Run:
        """Read the run file at `path`; ids with white space are those of the collection."""
        run = read_run(path, known=set(self.qrels).union(*self.qrels.values()))
        if self.dataset is None or not any("%" in document for document in run.document_ids):
            return run
        return read_run(path, known=self._all_ids(self.dataset))

    def qrels_for(self, run: Run) -> dict[str, dict[str, int]]:
        """Return the judgements of `run`; if judged by answers, its passages that contain one.

        Raises:
            DataError: The matches cannot be stored in the cache.
        """
        if self.dataset is None or self.task.judge != "answers":
            return self.qrels
        return qrels_by_answers(run, self.dataset, self.cache)

    def _all_ids(self, dataset: Dataset) -> Iterator[str]:
        yield from self.qrels
        for start in range(0, len(dataset.corpus), BLOCK):
            stop = min(start + BLOCK, len(dataset.corpus))
            yield from dataset.corpus.ids(np.arange(start, stop, dtype=np.int64))


def open_judged(task: TaskSpec, sources: Sources, progress: Progress = silent) -> Judged:
    """Open the judgements of `task` and, if it has one, its data set, prepared if necessary.

    Raises:
        DataError: see `open_dataset`.
    """
    raw = ask_loader(task, sources)
    if isinstance(raw, RawJudgements):
        found = judged_queries(task, raw)
        facts = {
            "source": found.source,
            "sha256": found.sha256,
            "n_queries": len(found.qrels),
            "n_judgements": sum(map(len, found.qrels.values())),
        }
        return Judged(
            task=task,
            qrels=found.qrels,
            info=TaskInfo.of(task, facts),
            dataset=None,
            warnings=found.warnings,
        )
    dataset = open_dataset(task, sources, progress)
    by_answers = task.judge == "answers"
    return Judged(
        task=task,
        qrels={query: {} for query in dataset.query_ids} if by_answers else qrels_of(dataset),
        info=TaskInfo.of(task, dataset.facts()),
        dataset=dataset,
        warnings=tuple(dataset.warnings),
        excluded_labels=dataset.excluded_labels,
        cache=sources.cache,
    )
