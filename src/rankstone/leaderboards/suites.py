"""Means over suites: pure functions of records, averaged as the suite's definition states."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

import pandas as pd

from rankstone.errors import ResultsError
from rankstone.leaderboards.labels import one_label
from rankstone.results.record import Measure, RunRecord
from rankstone.results.store import Found, standing
from rankstone.specs import SuiteSpec, canonical_digest

COLUMNS = ("suite", "method", "label", "version", "data", "tasks", "of", "missing")


def suite_means(records: Iterable[RunRecord], suite: SuiteSpec) -> pd.DataFrame:
    """Return one row per method: the means of the suite's measures, or the missing tasks.

    All members have equal weight; a member that is a suite counts once, with its own mean. If a
    method lacks a task, its means are NaN and `missing` names the task. The newest record of a cell
    counts, whatever the machine. Methods with a changed definition get a row of their own.

    Args:
        records: Any records; those of other tasks, and failures, are ignored.
        suite: Suite with its member suites resolved, from `Workspace.suite`.

    Returns:
        A frame with the columns `suite`, `method`, `label` (if its records have one), `version`
        (short digest of the method's definition), `data` (short digest of all the data; None if
        tasks are missing: only rows of equal `data` are comparable), `tasks` (number of tasks with
        records), `of` (number of tasks in the suite), `missing` (names, comma-separated), and each
        measure of the suite; complete rows first, best first.

    Raises:
        ResultsError: the suite defines no measures to average.
    """
    if not suite.measures:
        raise ResultsError(
            f"The suite '{suite.name}' has no mean: its definition names no measures. Compare its "
            "tasks one by one. (rankstone leaderboard)"
        )
    methods: dict[tuple[str, str], dict[str, RunRecord]] = {}
    for record in sorted(records, key=standing):
        if record.status == "ok" and record.task.name in suite.tasks:
            version = (record.method.name, record.method.digest)
            methods.setdefault(version, {})[record.task.name] = record
    rows = [_row(suite, method, digest, cells) for (method, digest), cells in methods.items()]
    frame = pd.DataFrame(rows, columns=[*COLUMNS, *suite.measures])
    frame = frame.astype(dict.fromkeys(suite.measures, "float64"))
    return frame.sort_values(
        [suite.measures[0], "method", "version"], ascending=[False, True, True], na_position="last"
    ).reset_index(drop=True)


def _row(
    suite: SuiteSpec, method: str, digest: str, cells: Mapping[str, RunRecord]
) -> dict[str, object]:
    missing = [
        name
        for name in suite.tasks
        if name not in cells or any(m not in cells[name].measures for m in suite.measures)
    ]
    data = {name: record.task.sha256 for name, record in cells.items()}
    return {
        "suite": suite.name,
        "method": method,
        "label": one_label(method, cells.values()),
        "version": digest[:8],
        "data": None if missing else canonical_digest(data)[:8],
        "tasks": len(suite.tasks) - len(missing),
        "of": len(suite.tasks),
        "missing": ", ".join(missing),
        **{measure: mean_of(suite, measure, cells) for measure in suite.measures},
    }


def shares(suite: SuiteSpec, share: float = 1.0) -> dict[str, float]:
    """Return task -> its weight in the suite's mean; a member that is a suite counts once."""
    found: dict[str, float] = {}
    for member in suite.members:
        part = share / len(suite.members)
        own = shares(member, part) if isinstance(member, SuiteSpec) else {member: part}
        for task, value in own.items():
            found[task] = found.get(task, 0.0) + value
    return found


def mean_of(suite: SuiteSpec, measure: str | None, cells: Mapping[str, RunRecord]) -> float:
    """Return the suite's mean of one method, from its records by task; NaN if one is missing.

    Args:
        measure: None: the headline of each task.
    """
    return math.fsum(
        share * _value(cells.get(task), measure) for task, share in shares(suite).items()
    )


def interval_of_mean(measures: Sequence[Measure], shares: Sequence[float]) -> tuple[float, float]:
    """Return the interval of a weighted mean of measures of independent queries.

    Distances to the ends are combined by square-and-add (Zou and Donner, Statistics in Medicine 27,
    2008), which also holds for asymmetric intervals. NaN if a measure has no interval.
    """
    mean, down, up = 0.0, list[float](), list[float]()
    for share, one in zip(shares, measures, strict=True):
        if one.low is None or one.high is None:
            return math.nan, math.nan
        mean += share * one.mean
        down.append(share * (one.mean - one.low))
        up.append(share * (one.high - one.mean))
    return mean - math.hypot(*down), mean + math.hypot(*up)


def _value(record: RunRecord | None, measure: str | None) -> float:
    found = record and record.measures.get(measure or record.task.headline)
    return found.mean if found else math.nan


def means_over_tasks(
    measure: str | None,
    names: Sequence[str],
    cells: Found,
    columns: Mapping[str, Mapping[str, float | None]],
    suite: SuiteSpec | None,
    notes: list[str],
) -> list[float | None]:
    """Return the mean over tasks of each method; None, with a note, if a record is missing."""
    means: list[float | None] = []
    for name in names:
        missing = [task for task, values in columns.items() if values[name] is None]
        if missing:
            shown = ", ".join(missing[:3]) + (", …" if len(missing) > 3 else "")
            notes.append(f"{name}: no mean, for there is no record on {shown}")
            means.append(None)
        elif suite is not None:
            own = {task: cells[name, task][0] for task in columns}
            mean = mean_of(suite, measure, own)
            means.append(None if math.isnan(mean) else mean)
        else:
            means.append(
                fmean([v for values in columns.values() if (v := values[name]) is not None])
            )
    return means
