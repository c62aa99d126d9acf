"""The store: every data set is converted once into memory-mapped files, checked, and opened.

    <cache>/datasets/<data set>/<key>/       key: loader, its arguments, source fingerprint
        corpus.arrow  queries.arrow  meta.json
        splits/<split>/judgements.arrow  queries.arrow  meta.json
        answers/       the same with all queries and no judgements, for tasks judged by answers

A split is converted when a task first needs it, so tasks over one corpus share it.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rankstone import registry
from rankstone.arrays import Flags, Ints
from rankstone.benchmarks.conversion import Split, Stored
from rankstone.benchmarks.corpus import StoredCorpus
from rankstone.benchmarks.dataset import Dataset, Judgements, RawDataset, RawJudgements, Sources
from rankstone.benchmarks.filters import ByRow, filters_by_row
from rankstone.benchmarks.folds import Pairs, in_fold
from rankstone.benchmarks.judgements import nothing_relevant, unpack_answers
from rankstone.benchmarks.loaders.beir import mirrored
from rankstone.benchmarks.pins import check_pins, split_digests
from rankstone.benchmarks.storage.arrow_tables import (
    MappedStrings,
    MappedTable,
)
from rankstone.benchmarks.storage.atomic_folders import (
    unchanged,
)
from rankstone.errors import DataError, DefinitionError
from rankstone.progress import Progress, silent
from rankstone.specs import TaskSpec


def open_dataset(task: TaskSpec, sources: Sources, progress: Progress = silent) -> Dataset:
    """Return the data of `task`, after converting it if the cache has no valid copy.

    Raises:
        DataError: the data is missing, malformed, or not as the task pins it; or the cache cannot
            be written. Nothing incomplete is left.
        DefinitionError: the task's loader, its arguments, or the text template is wrong.
    """
    raw = find_raw(task, replace(sources, progress=progress))
    stored = Stored(task, raw, sources, progress)
    split = stored.own_split()
    _check_pins(task, stored, split)
    return _assemble(task, stored, split)


def verify_dataset(task: TaskSpec, sources: Sources) -> dict[str, str]:
    """Hash the stored content of `task`; return the digests of corpus, queries and judgements.

    Raises:
        DataError: a digest differs from the one recorded at conversion, or from the one that the
            task pins.
    """
    stored = Stored(task, find_raw(task, sources), sources, silent)
    split = stored.own_split()
    recorded = {"corpus": stored.meta["corpus"]["sha256"], **split.meta["sha256"]}
    found = {
        "corpus": stored.documents.digest(["id", "title", "text"]),
        **split_digests(task, split.judgements, split.rows, stored.queries),
    }
    for part, digest in found.items():
        if digest != recorded[part]:
            raise DataError(
                f"{task.name}: the {part} in {stored.folder} changed since it was written "
                f"(sha256 {digest}, expected {recorded[part]}). Delete {stored.folder}."
            )
    _check_pins(task, stored, split)
    return found


def find_raw(task: TaskSpec, sources: Sources) -> RawDataset:
    """Return the loader's collection; DataError if it has only judgements."""
    if sources.prepared is not None:
        return RawDataset.elsewhere(**sources.prepared)
    raw = ask_loader(task, sources)
    if isinstance(raw, RawJudgements):
        raise DataError(
            f"{task.name}: it has judgements but no documents, so no method can be run on it. "
            f"Score a run file: rankstone score RUN --on {task.name}"
        )
    return raw


def ask_loader(task: TaskSpec, sources: Sources) -> RawDataset | RawJudgements:
    """Return the copy of the task's collection in the local mirror, else that of its loader.

    The mirror is not used for a task whose source names a `folder`.
    """
    load = registry.load("loader", task.loader, f"task '{task.name}'")
    try:
        takes = inspect.signature(load)
        if [*takes.parameters][:2] != ["task", "sources"]:  # never call another function
            raise TypeError("its first parameters are not 'task' and 'sources'")
        takes.bind(task, sources, **task.source)
    except (TypeError, ValueError) as error:  # ValueError: a built-in without a signature
        raise DefinitionError(
            f"task '{task.name}': key 'source': {task.loader} does not take it: {error}"
        ) from None
    own = None if "folder" in task.source else mirrored(task.dataset, sources)
    raw: RawDataset | RawJudgements = load(task, sources, **task.source) if own is None else own
    return raw


def _check_pins(task: TaskSpec, stored: Stored, split: Split) -> None:
    found = {
        "documents": len(stored.documents),
        "queries": len(split.rows),
        "judgements": len(split.judgements),
    }
    digests = {"corpus": stored.meta["corpus"]["sha256"], **split.meta["sha256"]}
    check_pins(task, found, digests, stored.raw.source, split.meta.get("n_repeated", 0))


def _assemble(task: TaskSpec, stored: Stored, split: Split) -> Dataset:
    whole, train, warnings = _test_and_train_rows(task, stored, split)
    filters, whole, kept, n_unjudged = _filtered(task, stored, split, whole)
    rows = whole[: task.limit_queries]
    query_rows = split.judgements.integers("query")
    # Judgements are sorted by query row, so those of the first queries come first.
    n = int(np.searchsorted(query_rows, rows[-1], side="right"))
    some = task.fold is not None or filters is not None
    own = np.flatnonzero(np.isin(query_rows, rows) & kept) if some else slice(n)
    documents = split.judgements.integers("document")[own]
    digests = split.meta["sha256"]
    if len(rows) < len(split.rows):
        digests = split_digests(task, split.judgements, rows, stored.queries)
    labels = split.judgements.integers("label")[own]
    lost = np.arange(len(query_rows))[own][(documents < 0) & (labels >= task.relevance)]
    trained = _train_judgements(task, stored, train)
    return Dataset(
        task=task,
        corpus=StoredCorpus(stored.documents, task),
        query_ids=tuple(stored.queries.take("id", rows)),
        query_texts=tuple(stored.queries.take("text", rows)),
        judgements=Judgements(
            query=np.searchsorted(rows, query_rows[own]).astype(np.int64),
            document=documents,
            label=labels,
        ),
        train_queries=MappedStrings(stored.queries, "text", train),
        train_judgements=trained,
        train_sha256=_train_digests(task, stored, train),
        sha256={
            "corpus": stored.meta["corpus"]["sha256"],
            **digests,
            **({} if filters is None else {"filter": filters.digest}),
        },
        source=stored.raw.source,
        self_positions=split.self_positions[np.searchsorted(split.rows, rows)],
        n_unknown_documents=int((documents < 0).sum()),
        n_unjudged_queries=len(stored.queries) - len(split.rows),
        warnings=(
            *stored.meta["warnings"],
            *split.meta["warnings"],
            *_lost_warnings(task, split, lost),
            *nothing_relevant(task, labels),
            *warnings,
            *_unjudged_warnings(task, n_unjudged),
        ),
        excluded_labels=split.meta.get("excluded_labels", ()),
        answers=_answers(task, stored.queries, rows),
        filters=filters and filters.of(rows, n_unjudged),
        unchanged=unchanged(stored.metas),
    )


def _test_and_train_rows(
    task: TaskSpec, stored: Stored, split: Split
) -> tuple[Ints, Ints, Sequence[str]]:
    """Return the rows of the queries to run and of those to train on, and warnings."""
    if task.fold is None:
        return split.rows, *_train_rows(task, stored, split)
    judged = split.judgements
    documents = judged.integers("document")
    right = (judged.integers("label") >= task.relevance) & (documents >= 0)
    asked = np.searchsorted(split.rows, judged.integers("query")[right]).astype(np.int64)
    mine = in_fold(
        task,
        stored.queries.take("id", split.rows),
        Pairs(asked, documents[right]),
        lambda positions: stored.documents.take("title", positions),
    )
    return split.rows[mine], split.rows[~mine], ()


def _filtered(
    task: TaskSpec, stored: Stored, split: Split, rows: Ints
) -> tuple[ByRow | None, Ints, Flags, int]:
    """Return the filters, the rows of the remaining queries, flags of the remaining judgements, and
    the number of queries without remaining judgements."""
    judged = split.judgements.integers("query")
    if not task.filter:
        return None, rows, np.ones(len(judged), dtype=np.bool_), 0
    ids = stored.queries.take("id", rows)
    filters = filters_by_row(task, *stored.columns(), rows, ids)
    kept = filters.keeps(judged, split.judgements.integers("document"))
    if task.judge == "answers":
        return filters, rows, kept, 0
    left = rows[np.isin(rows, judged[kept])]
    if not len(left):
        raise DataError(
            f"{task.name}: no query has a judged document that passes the filter. Widen it."
        )
    return filters, left, kept, len(rows) - len(left)


def _unjudged_warnings(task: TaskSpec, n: int) -> list[str]:
    if not n:
        return []
    return [f"{task.name}: {n} queries have no judged document that passes, and are not run"]


def _lost_warnings(task: TaskSpec, split: Split, lost: Ints) -> list[str]:
    """Return a warning, with an example, about relevant documents that are not in the corpus."""
    if not len(lost):
        return []
    ids = sorted(set(split.judgements.take("document_id", lost)))
    example = min(ids, key=str.isprintable)
    return [
        f"{task.name}: {len(ids)} relevant documents are not in the corpus, such as {example!r}"
    ]


def _answers(task: TaskSpec, queries: MappedTable, rows: Ints) -> Sequence[Sequence[str]] | None:
    if task.judge == "judgements":
        return None
    return tuple(map(unpack_answers, queries.take("answers", rows)))


def _train_judgements(task: TaskSpec, stored: Stored, rows: Ints) -> Judgements:
    """Return the judgements of the training queries `rows` on documents of the corpus."""
    if not len(rows) or not task.train_split:
        return Judgements.none()
    judged = stored.split(task.train_split).judgements
    query, document = judged.integers("query"), judged.integers("document")
    kept = np.isin(query, rows) & (document >= 0)
    return Judgements(
        query=np.searchsorted(rows, query[kept]).astype(np.int64),
        document=document[kept],
        label=judged.integers("label")[kept],
    )


def _train_digests(task: TaskSpec, stored: Stored, rows: Ints) -> dict[str, str]:
    if not len(rows) or not task.train_split:
        return {}
    found: dict[str, str] = stored.split(task.train_split).meta["sha256"]
    return found


def _train_rows(task: TaskSpec, stored: Stored, split: Split) -> tuple[Ints, Sequence[str]]:
    """Return the rows of training queries that are not queries of the task, and warnings."""
    name = task.train_split
    if not name:
        return np.zeros(0, dtype=np.int64), ()
    if name not in stored.meta["splits"]:
        return np.zeros(0, dtype=np.int64), (
            f"{task.dataset}: no training split '{name}' in {stored.raw.source}",
        )
    train = stored.split(name).rows
    shared = np.intersect1d(train, split.rows)
    if not len(shared):
        return train, ()
    return np.setdiff1d(train, shared), (
        f"{task.dataset}: {len(shared)} queries of '{name}' are also in '{task.split}'; "
        "they are not trained on",
    )
