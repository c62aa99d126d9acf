"""Means over suites: a pure function of records, by the rule in the suite's own definition."""

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
    """One row per method: the means of the suite's measures, or what is missing for them.

    Every member counts the same; a member that is a suite counts once, as its own mean. A mean
    over fewer tasks than the suite has would be another figure under the same name: it is NaN,
    and `missing` names the tasks. Of several records of one cell the newest counts, whatever the
    machine; a method whose definition changed is another row.

    Args:
        records: any records; those of other tasks, and failures, are left out.
        suite: with its member suites resolved, from `Workspace.suite`.

    Returns:
        A frame with the columns `suite`, `method`, `label` (where its records have one),
        `version` (short digest of the method's definition), `data` (short digest of all the data;
        None where tasks are missing: only rows of equal `data` are comparable), `tasks` (how many
        are there), `of`, `missing` (names, comma-separated), and each measure of the suite;
        complete rows first, best first.

    Raises:
        ResultsError: the field averages nothing over this suite.
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
    """Task -> its share of the suite's mean; a member that is a suite counts once."""
    found: dict[str, float] = {}
    for member in suite.members:
        part = share / len(suite.members)
        own = shares(member, part) if isinstance(member, SuiteSpec) else {member: part}
        for task, value in own.items():
            found[task] = found.get(task, 0.0) + value
    return found


def mean_of(suite: SuiteSpec, measure: str | None, cells: Mapping[str, RunRecord]) -> float:
    """The suite's mean of one method's records by task; NaN if one is missing.

    Args:
        measure: None: the headline of each task.
    """
    return math.fsum(
        share * _value(cells.get(task), measure) for task, share in shares(suite).items()
    )


def interval_of_mean(measures: Sequence[Measure], shares: Sequence[float]) -> tuple[float, float]:
    """Return the interval of a weighted mean of measures of independent queries; NaN if one has
    none.

    Distances to the ends are added as variances are (square-and-add; Zou and Donner, Statistics in
    Medicine 27, 2008), which holds for intervals that are not symmetric too.
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
    """Return the means; one with a missing record would be another figure and stays empty."""
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
