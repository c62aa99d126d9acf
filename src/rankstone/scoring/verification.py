"""Verification of stored records against their own runs and judgements; nothing is run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rankstone.errors import RankstoneError, ResultsError
from rankstone.evaluation.conventions.comparison import Comparison, compare
from rankstone.evaluation.conventions.rules import Rules
from rankstone.evaluation.conventions.tools import TOOLS
from rankstone.evaluation.evaluate import Evaluation, evaluate_run
from rankstone.profiling.latency import summarise
from rankstone.profiling.load import summarise_load
from rankstone.results.per_query import PerQuery, read_latency, read_load, read_per_query
from rankstone.results.record import (
    INTERVALS,
    PARTS,
    Latency,
    Measure,
    Percentiles,
    Policy,
    RunRecord,
)
from rankstone.results.serialise import digest_fault
from rankstone.results.side_files import side_file_faults
from rankstone.results.store import content_of
from rankstone.scoring.score_file import ADAPTER
from rankstone.scoring.task_qrels import Judged

EXACT = 1e-9
"""Tolerance of means, bounds under ties and values per query: rounding errors only."""
OF_INTERVALS = 1e-6


def differences(
    record: RunRecord, path: Path, judged: Callable[[RunRecord], Judged]
) -> Iterator[str]:
    """Yield a message for each difference of the record at `path` from its recomputation.

    It is compared with its own digest, its side files, its definition, and the values recomputed
    from them. A failed record has no measures; only its digest is checked. `judged` opens the
    judgements of a record's task; its errors, and errors of files, are also differences.
    """
    if fault := digest_fault(content_of(path), path):
        yield f"record: {fault}"
    yield from side_file_faults(record, path)
    if record.status != "ok":
        return
    yield from _latency(record, path)
    yield from _load(record, path)
    try:
        found = judged(record)
        yield from changed_data(record, found)
        yield from _definition(record, found)
        if record.files.run is None:
            yield "run: the record has none, so nothing can be recomputed"
            return
        evaluation = evaluated(record, path, found, list(record.measures))
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

    Raises RankstoneError if the record has no run, is judged by answers, or its judgements cannot
    be opened.
    """
    if record.files.run is None:
        raise ResultsError(f"{path}: the record has no run, so nothing can be recomputed from it.")
    if record.policy.judge == "answers":
        raise ResultsError(
            f"{record.task.name} is judged by answers, and {tool} needs labels of documents: it"
            " would take the retrieved documents with an answer for all relevant ones. See"
            f" Accuracy@k instead: rankstone show {record.method.name}@{record.task.name}"
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


def changed_data(record: RunRecord, judged: Judged) -> Iterator[str]:
    """Yield the differences between the data and that of the record."""
    recorded, found = record.task.sha256, judged.info.sha256
    for part in sorted(recorded.keys() | found.keys()):
        if recorded.get(part) != found.get(part):
            yield (
                f"{part}: {judged.info.source} has sha256 {found.get(part)},"
                f" recorded {recorded.get(part)}"
            )


def _definition(record: RunRecord, judged: Judged) -> Iterator[str]:
    """Yield the differences of task and policy from today's definition."""
    for part in ("digest", "dataset", "split", "headline"):
        if record.task[part] != judged.info[part]:
            yield f"task: {part} is {record.task[part]}, defined as {judged.info[part]}"
    defined = Policy.of(judged.task)
    for rule in Policy.model_fields:
        if rule == "intervals":
            continue  # earlier records have earlier rules, which affect no other figure
        if rule == "depth" and record.method.adapter == ADAPTER:
            continue  # the depth of the scored file
        if record.policy[rule] != defined[rule]:
            yield f"policy: {rule} is {record.policy[rule]}, defined as {defined[rule]}"


def _latency(record: RunRecord, path: Path) -> Iterator[str]:
    """Yield the differences of the latency figures from those of the stored array."""
    stored = record.latency
    name = record.files.latency
    if name is None or not path.with_name(name).is_file():
        return
    if stored is None:
        yield "latency: the record has no figures of the stored array"
        return
    try:
        raw = read_latency(path.with_name(name))
        found = summarise(
            raw.encode_ms,
            raw.search_ms,
            warmup=stored.warmup,
            threads=stored.threads,
            k=stored.k,
            queries=stored.queries,
        )
    except RankstoneError as error:
        yield f"latency: {error}"
        return
    yield from _latency_figures(stored, found)


def _latency_figures(stored: Latency, found: Latency) -> Iterator[str]:
    if stored.n != found.n:
        yield f"latency: n is {stored.n}, recomputed {found.n}"
    for part in PARTS:
        recomputed = _figures(found[part])
        for name, value in _figures(stored[part]).items():
            # Figures that records of early schemas lack are not among the stored ones.
            if not _equal(value, recomputed.get(name), EXACT, relative=EXACT):
                yield f"latency: {part} {name} is {value}, recomputed {recomputed.get(name)}"


def _figures(part: Percentiles) -> dict[str, float | None]:
    """Return the figures of a part, including the ends of intervals."""
    found = part.model_dump(exclude={"intervals"})
    ends = {
        f"{name} {end}": value
        for name, interval in part.intervals.items()
        for end, value in zip(("low", "high"), interval, strict=True)
    }
    added = () if part.intervals else ("autocorrelation", "effective_n")
    return {name: value for name, value in {**found, **ends}.items() if name not in added}


def _load(record: RunRecord, path: Path) -> Iterator[str]:
    """Yield the differences of the figures under load from those of the stored requests."""
    stored = record.load
    name = record.files.load
    if stored is None or name is None:
        if (stored is None) != (name is None):
            yield "load: the record has figures without requests, or requests without figures"
        return
    if not path.with_name(name).is_file():
        return
    try:
        offered = [(trial.rate, trial.clients) for trial in stored.trials]
        found = summarise_load(stored.plan, offered, read_load(path.with_name(name)), stored.k)
    except (RankstoneError, ValueError) as error:
        yield f"load: {error}"
        return
    recorded, recomputed = (dict(_leaves(one.model_dump(), "load")) for one in (stored, found))
    for name in recorded | recomputed:
        value, other = recorded.get(name), recomputed.get(name)
        numbers = isinstance(value, float) and isinstance(other, float)
        if not (_equal(value, other, EXACT, relative=EXACT) if numbers else value == other):
            yield f"{name} is {value}, recomputed {other}"


def _leaves(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield the single figures within mappings and lists, with their paths."""
    if not isinstance(value, (dict, list, tuple)):
        yield name, value
        return
    for key, part in value.items() if isinstance(value, dict) else enumerate(value):
        yield from _leaves(part, f"{name} {key}")


def evaluated(record: RunRecord, path: Path, judged: Judged, measures: Sequence[str]) -> Evaluation:
    """Evaluate the stored run of the record at `path` by the rules of the record."""
    rules = record.policy
    run = judged.read(path.with_name(str(record.files.run)))
    return evaluate_run(
        run,
        judged.qrels_for(run),
        measures=measures,
        depth=rules.depth,
        relevance=rules.relevance,
        drop_self=rules.self_hits == "drop",
        excluded_labels=judged.excluded_labels,
        method=record.method.name,
        judge=rules.judge,
    )


def _measures(record: RunRecord, evaluation: Evaluation) -> Iterator[str]:
    same_rule = record.policy.intervals == INTERVALS
    for name, stored in record.measures.items():
        found = evaluation.measures[name]
        for field in Measure.model_fields:
            if field in ("low", "high") and not same_rule:
                continue
            tolerance = OF_INTERVALS if field in ("low", "high") else EXACT
            if not _equal(stored[field], found[field], tolerance):
                yield f"{name}: {field} is {stored[field]}, recomputed {found[field]}"
    if record.queries is not None:
        for field in type(record.queries).model_fields:
            counted = evaluation.queries[field]
            if record.queries[field] != counted:
                yield f"queries: {field} is {record.queries[field]}, recomputed {counted}"


def _unseen(record: RunRecord, stored: PerQuery) -> Iterator[str]:
    """Yield the differences of the figures over unseen queries from the values per query."""
    if (record.unseen is None) != (stored.unseen is None):
        yield "unseen: only one of the record and its values per query has such queries"
    if record.unseen is None or stored.unseen is None:
        return
    n = int(stored.unseen.sum())
    if record.unseen.queries != n:
        yield f"unseen: {record.unseen.queries} queries, recomputed {n}"
    for name, figures in record.unseen.measures.items():
        values = stored.measures.get(name)
        mean = None if values is None or not n else float(values[stored.unseen].mean())
        if not _equal(figures.mean, mean, EXACT):
            yield f"unseen: {name} is {figures.mean}, recomputed {mean}"


def _equal(stored: Any, found: Any, tolerance: float, relative: float = 0.0) -> bool:
    if stored is None or found is None:
        return stored is found
    return math.isclose(stored, found, rel_tol=relative, abs_tol=tolerance)


def _per_query(record: RunRecord, path: Path, evaluation: Evaluation) -> Iterator[str]:
    file = None if record.files.per_query is None else path.with_name(record.files.per_query)
    if file is None or not file.is_file():  # reported with its digest
        return
    try:
        stored = read_per_query(file)
    except RankstoneError as error:
        yield f"per_query: {error}"
        return
    if stored.query_ids != list(evaluation.query_ids):
        yield "per_query: its queries, or their order, differ from those that are judged"
        return
    yield from _unseen(record, stored)
    for name in stored.measures.keys() - evaluation.per_query.keys():
        yield f"per_query: {name} is stored, but is not a measure of the record"
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
