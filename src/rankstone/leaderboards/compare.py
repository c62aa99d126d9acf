"""Comparison of methods on the same queries, from stored records alone.

A baseline is compared with each other method on every task that has records of both. Differences
are paired by query; their p values are adjusted by Holm's method over all comparisons made
together. Notes list the differences between two records other than the method. Costs are compared
by the rule of `rankstone.leaderboards.costs`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from rankstone.arrays import Floats
from rankstone.errors import ResultsError
from rankstone.evaluation.family import holm
from rankstone.evaluation.significance import Paired, paired
from rankstone.leaderboards.costs import BY_NAME, COMPARED, Figure, figures, obstacle
from rankstone.results.per_query import PerQuery, read_per_query
from rankstone.results.record import RunRecord
from rankstone.results.side_files import needed_file
from rankstone.results.store import ResultStore, Stored, recorded_name

MOVED = 3
"""Number of largest drops, and of largest rises, that are listed."""


class Moved(NamedTuple):
    """One query, with its value for each of the two methods."""

    query: str
    of: float
    than: float


class Comparison(NamedTuple):
    """Comparison of one method, `of`, with another, `than`, on one task."""

    task: str
    of: str
    than: str
    measure: str
    mean_of: float
    mean_than: float
    paired: Paired
    adjusted: float
    """p value adjusted by Holm's method over the family: all comparisons made together."""
    moved: tuple[Moved, ...]
    """Queries with the largest drops and rises, largest change first; ties are broken by the total
    change over all measures of both."""
    figures: tuple[Figure, ...]
    notes: tuple[str, ...]
    """Other differences between the two records, and the comparisons left out because of them."""


def compare(
    baseline: str,
    others: Sequence[str],
    records: Mapping[tuple[str, str], Stored],
    *,
    measure: str | None = None,
) -> list[Comparison]:
    """Compare `baseline` with each of `others` on every task that has records of both, by task.

    Args:
        baseline, others: Full names of methods.
        records: (method, task) -> its record and the record's path.
        measure: Measure for all tasks; None: the headline of each.

    Raises:
        ResultsError: no task has records of both, or their per-query values are missing or belong
            to different queries.
    """
    found = [
        _one(of, than, measure or of[0].task.headline)
        for of, than in _pairs(baseline, others, records)
    ]
    adjusted = holm([one.paired.p for one in found])
    return [one._replace(adjusted=p) for one, p in zip(found, adjusted, strict=True)]


def _pairs(
    baseline: str, others: Sequence[str], records: Mapping[tuple[str, str], Stored]
) -> list[tuple[Stored, Stored]]:
    found = []
    for task in dict.fromkeys(task for _, task in records):
        for other in others:
            pair = records.get((other, task)), records.get((baseline, task))
            if pair[0] is not None and pair[1] is not None:
                found.append((pair[0], pair[1]))
    if not found:
        named = ", ".join([baseline, *others])
        raise ResultsError(
            f"no task has records of {baseline} and another of {named}."
            " Measure them: rankstone run METHOD... --on TASK"
        )
    return found


def compare_stored(
    store: ResultStore,
    baseline: str,
    others: Sequence[str],
    *,
    tasks: Sequence[str] | None,
    measure: str | None,
) -> list[Comparison]:
    """Compare methods from stored records on `tasks`, or on all tasks that have both.

    Methods and tasks are given by their full names or by the last parts of these.
    """
    of, than, cells = _named(store, baseline, others, tasks)
    return compare(of, than, cells, measure=measure)


def stored_pairs(
    store: ResultStore,
    baseline: str,
    others: Sequence[str],
    *,
    tasks: Sequence[str] | None,
) -> list[tuple[Stored, Stored]]:
    """Return pairs of records: each of `others` and `baseline`, on every task that has both.

    Names are resolved as by `compare_stored`. Raises ResultsError if there are no pairs.
    """
    return _pairs(*_named(store, baseline, others, tasks))


def _named(
    store: ResultStore, baseline: str, others: Sequence[str], tasks: Sequence[str] | None
) -> tuple[str, list[str], dict[tuple[str, str], Stored]]:
    """Return the full names of the methods, and the cells of the tasks."""
    cells = {cell: one for cell, one in store.cells().items() if one[0].status == "ok"}
    methods = list(dict.fromkeys(method for method, _ in cells))
    if tasks is not None:
        known = list(dict.fromkeys(task for _, task in cells))
        kept = {recorded_name(name, known, "task", store.folder) for name in tasks}
        cells = {cell: one for cell, one in cells.items() if cell[1] in kept}
    of, *than = [
        recorded_name(name, methods, "method", store.folder) for name in (baseline, *others)
    ]
    return of, than, cells


def _one(of: Stored, than: Stored, measure: str) -> Comparison:
    queries, ours, theirs = paired_values(of, than, measure)
    tested = paired(ours, theirs)
    return Comparison(
        task=of[0].task.name,
        of=of[0].method.name,
        than=than[0].method.name,
        measure=measure,
        mean_of=float(ours.mean()),
        mean_than=float(theirs.mean()),
        paired=tested,
        adjusted=tested.p,
        moved=_most_moved(of, than, queries, ours, theirs),
        figures=tuple(figures(of[0], than[0])),
        notes=tuple(differences(of[0], than[0])),
    )


def _most_moved(
    of: Stored, than: Stored, queries: Sequence[str], ours: Floats, theirs: Floats
) -> tuple[Moved, ...]:
    change = ours - theirs
    order = np.lexsort((-_change_of_all(of, than, queries), -np.abs(change)))
    drops, rises = ([n for n in order if sign * change[n] > 0][:MOVED] for sign in (-1, 1))
    return tuple(
        Moved(queries[n], float(ours[n]), float(theirs[n])) for n in order if n in {*drops, *rises}
    )


def _change_of_all(of: Stored, than: Stored, queries: Sequence[str]) -> Floats:
    """Return each query's absolute change, summed over the measures that both records have."""
    ours, theirs = _per_query(of), _per_query(than)
    rows = [
        np.array([{q: n for n, q in enumerate(side.query_ids)}[q] for q in queries])
        for side in (ours, theirs)
    ]
    both = ours.measures.keys() & theirs.measures.keys()
    total = np.zeros(len(queries))
    for measure in both:
        total += np.abs(ours.measures[measure][rows[0]] - theirs.measures[measure][rows[1]])
    return total


def paired_values(of: Stored, than: Stored, measure: str) -> tuple[list[str], Floats, Floats]:
    """Return the queries and the values of both records; ResultsError if the queries differ."""
    ours, theirs = values_of(of, measure), values_of(than, measure)
    if ours.keys() != theirs.keys():
        raise ResultsError(
            f"{of[0].method.name} and {than[0].method.name} on {of[0].task.name} are not of the"
            f" same queries: {len(ours)} and {len(theirs)}, {len(ours.keys() & theirs.keys())} in"
            " common. Run both on the same data."
        )
    queries = list(ours)
    return queries, np.array(list(ours.values())), np.array([theirs[q] for q in queries])


def values_of(stored: Stored, measure: str) -> dict[str, float]:
    """Return query id -> value of `measure`; ResultsError if the record has no such values."""
    record, read = stored[0], _per_query(stored)
    if measure not in read.measures:
        known = ", ".join(read.measures)
        raise ResultsError(
            f"{record.method.name} on {record.task.name}: '{measure}' was not measured. It has:"
            f" {known}. Compute it from the stored runs: rankstone leaderboard --measures"
            f" '{measure}'"
        )
    return dict(zip(read.query_ids, read.measures[measure].tolist(), strict=True))


def _per_query(stored: Stored) -> PerQuery:
    record, path = stored
    return read_per_query(needed_file(record, path, "per_query"))


def differences(of: RunRecord, than: RunRecord) -> Iterator[str]:
    """Yield notes on how two records of one task differ other than in the method."""
    yield from obstacles(of, than)
    if of.task.text != than.task.text:
        yield f"documents are read as {of.task.text!r} and as {than.task.text!r}"
    if of.environment.seed != than.environment.seed:
        yield f"the seeds differ: {of.environment.seed} and {than.environment.seed}"
    yield from _costs_left_out(of, than)


def _costs_left_out(of: RunRecord, than: RunRecord) -> Iterator[str]:
    """Yield a note for each reason not to compare some costs of both records."""
    reasons: dict[str, list[str]] = {}
    for cost in (BY_NAME[name] for name in COMPARED):
        if cost.of(of) is not None and cost.of(than) is not None:
            reasons.setdefault(obstacle(cost, of, than), []).append(cost.name)
    for reason, names in reasons.items():
        if reason:
            yield f"not compared: {', '.join(names)} ({reason})"


def other_data(records: Iterable[RunRecord]) -> list[str]:
    """Return the parts of the data, such as `judgements`, of which records of one task have
    different digests; unknown ones, as of imports, are ignored."""
    known: dict[str, set[str]] = {}
    for record in records:
        for part, digest in record.task.sha256.items():
            known.setdefault(part, set()).add(digest)
    return sorted(part for part, digests in known.items() if len(digests) > 1)


def refuse_other_data(records: Sequence[RunRecord]) -> None:
    """Raise ResultsError if records of one task were measured on different data."""
    if parts := other_data(records):
        names = ", ".join(dict.fromkeys(record.method.name for record in records))
        raise ResultsError(
            f"{names}: their records on {records[0].task.name} are of different data"
            f" ({', '.join(parts)}). Run them on the same."
        )


def obstacles(of: RunRecord, than: RunRecord) -> Iterator[str]:
    """Yield the reasons why the quality of two records is not comparable: data or rules differ."""
    for part in sorted(of.task.sha256.keys() | than.task.sha256.keys()):
        if of.task.sha256.get(part) != than.task.sha256.get(part):
            yield f"the {part} differ: the two were not measured on the same data"
    mine, theirs = (record.policy.model_dump() for record in (of, than))
    for rule in mine.keys() - {"intervals"}:  # per-query values do not depend on it
        if mine[rule] != theirs[rule]:
            yield f"the policy differs: {rule} is {mine[rule]} and {theirs[rule]}"
