"""Texts of single queries and documents for display, without downloading any data set."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection
from typing import NamedTuple
from urllib.parse import unquote

import numpy as np

from rankstone.benchmarks.availability import entry
from rankstone.benchmarks.dataset import Dataset, Sources
from rankstone.benchmarks.store import open_dataset
from rankstone.errors import RankstoneError
from rankstone.evaluation.evaluate import qrels_of
from rankstone.results.record import RunRecord
from rankstone.specs import TaskSpec

HERE = ("prepared", "available", "embedded")
"""States of a data set that is available without a download."""


class Found(NamedTuple):
    """Texts and labels of some queries and documents; unknown ones are omitted."""

    queries: dict[str, str]
    documents: dict[str, str]
    labels: dict[str, dict[str, int]]


def look_up(
    find_task: Callable[[], TaskSpec],
    record: RunRecord,
    queries: Collection[str],
    documents: Collection[str],
    sources: Sources,
) -> Found | str:
    """Return texts of `queries` and `documents`, or the reason why there are none.

    Args:
        find_task: returns the task of the record; if it raises, its message is the reason.
        record: record of a run on the task. Other versions of its data may have other documents
            under the same ids.
        documents: ids as in a run file, with white space encoded.
    """
    try:
        task = find_task()
        known = entry(task, sources)
        if known.state not in HERE:
            return f"{task.name} is not available here: {known.detail or known.state}"
        dataset = open_dataset(task, sources)
    except RankstoneError as error:
        return str(error)
    for part in ("corpus", "queries"):
        if dataset.sha256.get(part) != record.task.sha256.get(part):
            return f"the {part} of {task.name} here are not those of the record"
    asked = set(queries)
    texts = zip(dataset.query_ids, dataset.query_texts, strict=True)
    labels = {} if task.judge == "answers" else qrels_of(dataset)
    return Found(
        queries={id: text for id, text in texts if id in asked},
        documents=_documents(dataset, sorted(documents)),
        labels={query: labels[query] for query in queries if query in labels},
    )


def _documents(dataset: Dataset, ids: list[str]) -> dict[str, str]:
    positions = dataset.corpus.positions(ids)
    if (positions < 0).any():  # white space in ids is encoded in run files
        decoded = dataset.corpus.positions([unquote(id) for id in ids])
        positions = np.where(positions < 0, decoded, positions)
    held = positions >= 0
    texts = dataset.corpus.take(positions[held])
    return dict(zip(itertools.compress(ids, held), texts, strict=True))
