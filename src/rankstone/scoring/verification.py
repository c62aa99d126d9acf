"""Whether stored records say what their own runs and judgements give: nothing is run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rankstone.errors import RankstoneError, ResultsError
from rankstone.evaluation.conventions import TOOLS, Comparison, Rules, compare
from rankstone.evaluation.evaluate import Evaluation, evaluate_lines
from rankstone.files import sha256_of
from rankstone.results.per_query import read_per_query
from rankstone.results.record import Measure, RunRecord
from rankstone.results.store import SUFFIXES
from rankstone.scoring.task_qrels import Judged

EXACT = 1e-9
"""Means, bounds under ties and values per query may differ by rounding, and no more."""
OF_INTERVALS = 1e-6


def differences(
    record: RunRecord, path: Path, judged: Callable[[RunRecord], Judged]
) -> Iterator[str]:
    """Where the record at `path` is not what its run and judgements give; a sentence each.

    A failed record holds no figures, and so nothing differs. `judged` opens the judgements of a
    record's task; where it or a file raises, that is a difference too.
    """
    if record.status != "ok":
        return
    yield from _files(record, path)
    try:
        found = judged(record)
        yield from _data(record, found)
        if record.files.run is None:
            yield "run: the record names none, so that nothing can be recomputed"
            return
        evaluation = _evaluated(record, path, found)
    except RankstoneError as error:
        yield f"cannot be recomputed: {error}"
        return
    yield from _measures(record, evaluation)
    yield from _per_query(record, path, evaluation)


def compare_rules(
    record: RunRecord,
    path: Path,
    tool: str,
    *,
    measures: Sequence[str],
    judged: Callable[[RunRecord], Judged],
) -> list[Comparison]:
    """Evaluate the run of the record at `path` by its own rules and by those of `tool`.

    Raises: RankstoneError, where the record has no run, is judged by answers, or its judgements
        cannot be opened.
    """
    if record.files.run is None:
        raise ResultsError(f"{path}: the record has no run, so nothing can be recomputed from it.")
    if record.policy.judge == "answers":
        raise ResultsError(
            f"{record.task.name} is judged by answers, and {tool} reads labels of documents, which "
            "it has not: among what a run found, those that hold an answer would pass for all that "
            f"is relevant. Look at Accuracy@k instead: rankstone show {record.method.name}"
            f"@{record.task.name}"
        )
    opened, policy = judged(record), record.policy
    run = opened.read(path.with_name(record.files.run))
    return compare(
        run,
        opened.qrels_for(run),
        measures=measures,
        depth=policy.depth,
        ours=Rules(relevance=policy.relevance, self_hits=policy.self_hits),
        tool=TOOLS[tool],
        dataset=record.task.dataset,
    )


def _files(record: RunRecord, path: Path) -> Iterator[str]:
    for kind in SUFFIXES:
        name, digest = record.files[kind], record.files[f"{kind}_sha256"]
        if name is None:
            continue
        file = path.with_name(name)
        if not file.is_file():
            yield f"{kind}: {file} is missing"
        elif (found := sha256_of(file)) != digest:
            yield f"{kind}: {file} has sha256 {found}, recorded {digest}"


def _data(record: RunRecord, judged: Judged) -> Iterator[str]:
    recorded, found = record.task.sha256, judged.info.sha256
    for part in sorted(recorded.keys() | found.keys()):
        if recorded.get(part) != found.get(part):
            yield (
                f"{part}: {judged.info.source} has sha256 {found.get(part)},"
                f" recorded {recorded.get(part)}"
            )


def _evaluated(record: RunRecord, path: Path, judged: Judged) -> Evaluation:
    rules = record.policy
    run = judged.read(path.with_name(str(record.files.run)))
    return evaluate_lines(
        run,
        judged.qrels_for(run),
        measures=list(record.measures),
        depth=rules.depth,
        relevance=rules.relevance,
        drop_self=rules.self_hits == "drop",
        method=record.method.name,
        judge=rules.judge,
    )


def _measures(record: RunRecord, evaluation: Evaluation) -> Iterator[str]:
    for name, stored in record.measures.items():
        found = evaluation.measures[name]
        for field in Measure.model_fields:
            tolerance = OF_INTERVALS if field in ("low", "high") else EXACT
            if not _equal(stored[field], found[field], tolerance):
                yield f"{name}: {field} is {stored[field]}, recomputed {found[field]}"
    if record.queries is not None:
        for field in type(record.queries).model_fields:
            counted = evaluation.queries[field]
            if record.queries[field] != counted:
                yield f"queries: {field} is {record.queries[field]}, recomputed {counted}"


def _equal(stored: Any, found: Any, tolerance: float) -> bool:
    if stored is None or found is None:
        return stored is found
    return math.isclose(stored, found, rel_tol=0.0, abs_tol=tolerance)


def _per_query(record: RunRecord, path: Path, evaluation: Evaluation) -> Iterator[str]:
    if record.files.per_query is None or not path.with_name(record.files.per_query).is_file():
        return
    try:
        stored = read_per_query(path.with_name(record.files.per_query))
    except RankstoneError as error:
        yield f"per_query: {error}"
        return
    if stored.query_ids != list(evaluation.query_ids):
        yield "per_query: it holds other queries than are judged, or in another order"
        return
    for name, found in evaluation.per_query.items():
        values = stored.measures.get(name)
        if values is None:
            yield f"per_query: {name} is missing"
            continue
        wrong = np.flatnonzero(~(np.abs(values - found) <= EXACT))
        if len(wrong):
            row = int(wrong[0])
            yield (
                f"per_query: {name} differs for {len(wrong)} queries, first for"
                f" '{stored.query_ids[row]}': {values[row]}, recomputed {found[row]}"
            )
