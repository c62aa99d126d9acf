"""Judgements by id, resolved to judgements by position, or grouped by query."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rankstone.arrays import Flags, Ints
from rankstone.benchmarks.dataset import Judgement, RawJudgements
from rankstone.benchmarks.pins import check_pins
from rankstone.benchmarks.storage.arrow_tables import (
    TEXT,
    ContentDigest,
    MappedTable,
    distinct,
    positions_of,
    text_array,
)
from rankstone.errors import DataError, did_you_mean
from rankstone.specs import TaskSpec

MOST_GRADES = 20
"""More distinct labels than any manually judged collection has."""


@dataclass(frozen=True, kw_only=True)
class ResolvedSplit:
    """One split's judgements and judged queries, ready to be stored."""

    judgements: Any
    """Table sorted by query row, then document position: `query` (row in the queries table),
    `document` (position, -1 unknown), `label`, and the ids as `query_id`, `document_id`."""
    queries: Any
    """Table of the judged queries in file order: `row` in the queries table, and
    `self_position`, that of the document with the query's id, -1 if there is none."""
    n_repeated: int = 0
    """Number of judgements left out because their pair was already judged."""
    warnings: list[str] = field(default_factory=list)


def resolve_split(
    judgements: Iterable[Judgement], documents: MappedTable, queries: MappedTable, where: str
) -> ResolvedSplit:
    """Look up all ids of `judgements`; messages name the split and its source as `where`.

    Judgements of unknown queries are left out; judgements of unknown documents are kept at position
    -1, because trec_eval counts them; repeated judgements count once.

    Raises:
        DataError: two labels for one pair, columns in the wrong order, or no judged query.
    """
    query_ids, document_ids, labels = _columns(judgements, where)
    query_keys, query_codes = distinct(query_ids)
    document_keys, document_codes = distinct(document_ids)
    query_rows = positions_of(queries.column("id"), query_keys)
    positions = positions_of(documents.column("id"), document_keys)
    rows, places = query_rows[query_codes], positions[document_codes]
    known = rows >= 0
    _check_column_order(documents, queries, query_ids, document_ids, known & (places >= 0), where)
    if not known.any():
        raise _nothing_found(where, "queries", "the queries file", query_ids, queries)
    if (places < 0).all():
        raise _nothing_found(where, "documents", "the corpus", document_ids, documents)
    _check_labels(documents, labels, where)
    warnings = []
    if n_queries := int((query_rows < 0).sum()):
        warnings.append(
            f"{where}: {n_queries} judged queries are not in the queries file; "
            f"their {int((~known).sum())} judgements are left out"
        )
    order = np.lexsort((document_codes, places, rows))
    order = order[known[order]]
    order, n_repeated = _without_repeats(
        order, rows, document_codes, labels, (query_ids, document_ids), where
    )
    n_unknown = int((places[order] < 0).sum())
    if n_unknown:
        warnings.append(f"{where}: {n_unknown} judgements of documents the corpus does not hold")
    if n_repeated:
        warnings.append(_repeated(where, n_repeated))
    judged = np.unique(rows[order])
    return ResolvedSplit(
        judgements=pa.table(
            {
                "query": rows[order],
                "document": places[order],
                "label": labels[order],
                "query_id": query_ids.take(order),
                "document_id": document_ids.take(order),
            }
        ),
        queries=_queries_table(judged, documents, queries),
        n_repeated=n_repeated,
        warnings=warnings,
    )


def every_query(documents: MappedTable, queries: MappedTable) -> ResolvedSplit:
    """Return all queries without judgements: the split of a task judged by answers."""
    rows = np.arange(len(queries), dtype=np.int64)
    numbers = pa.array([], pa.int64())
    columns = {"query": numbers, "document": numbers, "label": pa.array([], pa.int32())}
    ids = {"query_id": pa.array([], TEXT), "document_id": pa.array([], TEXT)}
    return ResolvedSplit(
        judgements=pa.table({**columns, **ids}), queries=_queries_table(rows, documents, queries)
    )


def refuse_unknown_split(owner: str, split: str, known: Sequence[str]) -> None:
    """Raise DataError if `split` is not one of the splits `known` of a task or collection."""
    if split not in known:
        hint = did_you_mean(split, known) or f" It has: {', '.join(known) or 'none'}."
        raise DataError(f"{owner}: no judgements for the split '{split}'.{hint}")


def pack_answers(answers: Sequence[str]) -> str:
    """Return the answers to a query as a JSON array; an empty string if there are none."""
    return json.dumps(answers, ensure_ascii=False) if answers else ""


def unpack_answers(packed: str) -> tuple[str, ...]:
    return tuple(json.loads(packed)) if packed else ()


def _queries_table(rows: Ints, documents: MappedTable, queries: MappedTable) -> Any:
    own = pa.array(queries.take("id", rows), TEXT)
    return pa.table({"row": rows, "self_position": positions_of(documents.column("id"), own)})


def _columns(judgements: Iterable[Judgement], where: str) -> tuple[Any, Any, NDArray[np.int32]]:
    rows = list(judgements)
    if not rows:
        raise DataError(f"{where}: holds no judgements. Add them, or fetch it again.")
    queries, documents, labels = zip(*rows, strict=True)
    try:
        values = np.array(labels, dtype=np.int32)
    except OverflowError:
        raise DataError(f"{where}: a label does not fit in 32 bits. Correct it.") from None
    return text_array(queries)[0], text_array(documents)[0], values


def _check_column_order(
    documents: MappedTable,
    queries: MappedTable,
    query_ids: Any,
    document_ids: Any,
    both_known: Flags,
    where: str,
) -> None:
    """Refuse judgements if most ids are found only with the two columns exchanged."""
    if both_known.mean() >= 0.5:
        return
    as_documents, codes = distinct(query_ids)
    as_queries, other_codes = distinct(document_ids)
    swapped = (positions_of(documents.column("id"), as_documents)[codes] >= 0) & (
        positions_of(queries.column("id"), as_queries)[other_codes] >= 0
    )
    if swapped.mean() > 0.5:
        raise DataError(
            f"{where}: columns in the wrong order: the first holds document ids and the second "
            "query ids, expected query-id, corpus-id, score. Exchange the two."
        )


def _check_labels(documents: MappedTable, labels: NDArray[np.int32], where: str) -> None:
    """Refuse labels with many distinct values, most of which are document ids."""
    values = np.unique(labels)
    if len(values) <= MOST_GRADES:
        return
    ids = text_array([str(value) for value in values.tolist()])[0]
    if (positions_of(documents.column("id"), ids) >= 0).mean() > 0.5:
        raise DataError(
            f"{where}: columns in the wrong order: the last one, where the labels belong, holds "
            f"{len(values)} different numbers, most of them document ids, expected query-id, "
            "corpus-id, score. Put the label last."
        )


def _nothing_found(where: str, what: str, file: str, judged: Any, there: MappedTable) -> DataError:
    """Return the error, with one id of each side: they often differ by a prefix or zeros."""
    example = there.rows("id", 0, 1)[0]
    return DataError(
        f"{where}: none of its {what} is in {file}: it names {str(judged[0])!r}, and {file} "
        f"begins with {example!r}. Correct the ids, or the order of the columns "
        "(query-id, corpus-id, score; in TREC form query, 0, document, label)."
    )


def _without_repeats(
    order: Ints,
    rows: Ints,
    codes: Ints,
    labels: NDArray[np.int32],
    ids: tuple[Any, Any],
    where: str,
) -> tuple[Ints, int]:
    """Return `order` with one entry per (query, document) pair, and the number dropped."""
    same = (np.diff(rows[order]) == 0) & (np.diff(codes[order]) == 0)
    conflict = np.flatnonzero(same & (np.diff(labels[order]) != 0))
    if len(conflict):
        first, second = (int(order[conflict[0] + i]) for i in (0, 1))
        raise DataError(
            f"{where}: query '{ids[0][first]}' and document '{ids[1][first]}' are judged "
            f"{labels[first]} and {labels[second]} (judgements {first + 1} and {second + 1}). "
            "Keep one."
        )
    return order[np.concatenate([[True], ~same])], int(same.sum())


def nothing_relevant(task: TaskSpec, labels: Iterable[int]) -> list[str]:
    """Return a warning if no judged document of the task counts as relevant."""
    least = task.relevance
    if task.judge == "answers" or any(label >= least for label in labels):
        return []
    return [
        f"{task.name}: no judged document has a label of {least} or more, so that none is relevant"
    ]


def _repeated(where: str, n: int) -> str:
    return f"{where}: {n} judgements are repeated and count once"


@dataclass(frozen=True, kw_only=True)
class JudgedQueries:
    """Judgements of one split, by ids."""

    qrels: dict[str, dict[str, int]]
    """Query id -> document id -> label, in the order of the file."""
    sha256: dict[str, str]
    """Digest of the `judgements`; equal to that of a data set with the same judgements."""
    source: str
    warnings: tuple[str, ...] = ()


def judged_queries(task: TaskSpec, raw: RawJudgements) -> JudgedQueries:
    """Return the task's split of `raw`, compared with its pins and truncated at its limit.

    Raises:
        DataError: there is no such split, a pair has two labels, nothing is judged, or a pin
            differs.
    """
    refuse_unknown_split(task.name, task.split, raw.splits())
    where = f"{task.name}: judgements of the split '{task.split}' ({raw.source})"
    qrels, n_repeated = _by_query(raw.judgements(task.split), where)
    counts = {"queries": len(qrels), "judgements": sum(map(len, qrels.values()))}
    check_pins(task, counts, {"judgements": _digest(qrels)}, raw.source, n_repeated)
    first = dict(list(qrels.items())[: task.limit_queries])
    return JudgedQueries(
        qrels=first,
        sha256={"judgements": _digest(first)},
        source=raw.source,
        warnings=(
            *([_repeated(where, n_repeated)] if n_repeated else []),
            *nothing_relevant(task, (label for row in first.values() for label in row.values())),
        ),
    )


def _by_query(judgements: Iterable[Judgement], where: str) -> tuple[dict[str, dict[str, int]], int]:
    """Return the judgements by query, and the number of repeated judgements."""
    qrels: dict[str, dict[str, int]] = {}
    n_repeated = 0
    for query, document, label in judgements:
        labels = qrels.setdefault(query, {})
        n_repeated += document in labels
        former = labels.setdefault(document, label)
        if former != label:
            raise DataError(
                f"{where}: query '{query}' and document '{document}' are judged {former} and "
                f"{label}. Keep one."
            )
    if not qrels:
        raise DataError(f"{where}: holds no judgements. Add them, or fetch it again.")
    return qrels, n_repeated


def _digest(qrels: dict[str, dict[str, int]]) -> str:
    """Digest query, document and label in the order of the ids, as `pins.split_digests` does."""
    rows = sorted(
        (query, document, str(label))
        for query, labels in qrels.items()
        for document, label in labels.items()
    )
    digest = ContentDigest(3)
    digest.update([text_array(column)[0] for column in zip(*rows, strict=True)])
    return digest.hexdigest()
