"""Texts of single queries and documents, for who shows them: no data set is fetched for that."""

from __future__ import annotations

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

HERE = ("prepared", "at hand", "embedded")
"""States of a data set that is within reach without a download."""


class Found(NamedTuple):
    """What a data set says of some queries and documents; what it does not hold is left out."""

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
    """Texts of `queries` and `documents`, or why there are none.

    Args:
        find_task: returns the task of the record; where it raises, its message is the answer.
        record: measured on the task; texts of other data than its own would be those of other
            documents under the same ids.
        documents: ids as a run file has them, white space encoded.
    """
    try:
        task = find_task()
        known = entry(task, sources)
        if known.state not in HERE:
            return f"{task.name} is not here: {known.detail or known.state}"
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
    places = dataset.corpus.positions(ids)
    if (places < 0).any():  # white space in ids is encoded in run files
        decoded = dataset.corpus.positions([unquote(id) for id in ids])
        places = np.where(places < 0, decoded, places)
    kept = [(id, place) for id, place in zip(ids, places.tolist(), strict=True) if place >= 0]
    texts = dataset.corpus.take(np.array([place for _, place in kept], dtype=np.int64))
    return dict(zip((id for id, _ in kept), texts, strict=True))
