"""Page of a leaderboard: tables with the best values marked.

Quality is compared within one task and one version of its data; speed and memory within one machine
and number of threads. Each group has a table of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from rankstone.leaderboards import numbers as figures
from rankstone.leaderboards.costs import BY_COLUMN, CACHED, VARIED, Cost, Flag
from rankstone.leaderboards.document import Block, Cell, Column, Page, Paragraph, Table
from rankstone.leaderboards.frame import framed, leaderboard, truncated
from rankstone.leaderboards.labels import label_notes, row_names
from rankstone.leaderboards.marks import marked_cells
from rankstone.leaderboards.numbers import is_known
from rankstone.leaderboards.trained import labelled
from rankstone.results.record import RunRecord


def page(
    data: pd.DataFrame | Iterable[RunRecord], *, short_names: bool = False, top: int | None = None
) -> Page:
    """Return the leaderboard of records, or of their frame by `frame.leaderboard`.

    Args:
        data: Records, or their frame with one row per record.
        short_names: Shorten `dense/e5-base` to `e5-base` if that is unique.
        top: Number of best records to show of each task; None: all.
    """
    frame = data if isinstance(data, pd.DataFrame) else leaderboard(data)
    places = frame.groupby(["task", "data"], dropna=False).cumcount()
    shown = frame if top is None else frame[places < top]
    blocks: list[Block] = [*tables(shown, short_names=short_names)]
    if len(shown) < len(frame):
        blocks.insert(0, Paragraph(f"The best {top} of each task."))
    empty = Paragraph("No records. (rankstone run METHOD --on TASK)")
    return framed(tuple(blocks) or (empty,), shown)


def tables(frame: pd.DataFrame, *, short_names: bool = False) -> list[Table]:
    """Return the tables of quality and costs of each task."""
    names = _short_names(frame) if short_names else {}
    given = row_names(list(frame["method"]), list(frame["label"]))
    named = frame.assign(
        given=given,
        label=[
            labelled(label or names.get(method, method), is_known(trained))
            for label, method, trained in zip(given, frame["method"], frame["trained"], strict=True)
        ],
        data=known_data(frame),
    )
    found: list[Table] = []
    for (task, _), rows in named.groupby(["task", "data"], sort=False, dropna=False):
        found.append(_quality(str(task), rows))
        timed = rows[(rows["status"] == "ok") & rows[list(BY_COLUMN)].notna().any(axis=1)]
        for _, here in timed.groupby(["machine", "threads"], sort=False, dropna=False):
            found.append(_efficiency(str(task), here))
    return found


def known_data(frame: pd.DataFrame) -> list[Any]:
    """Return the column `data`, completed for failures that occurred before the data was opened.

    These get the data of the other records of their task, if these agree.
    """
    done = frame[frame["status"] == "ok"]
    found = {task: set(rows.dropna()) for task, rows in done.groupby("task")["data"]}
    return [
        next(iter(found[task]))
        if status != "ok" and not is_known(data) and len(found.get(task, ())) == 1
        else data
        for task, status, data in zip(frame["task"], frame["status"], frame["data"], strict=True)
    ]


def _short_names(frame: pd.DataFrame) -> dict[str, str]:
    methods = sorted(set(frame["method"]))
    stems = [method.rpartition("/")[2] for method in methods]
    return {m: s for m, s in zip(methods, stems, strict=True) if stems.count(s) == 1}


def _quality(task: str, rows: pd.DataFrame) -> Table:
    done, failed = rows[rows["status"] == "ok"], rows[rows["status"] != "ok"]
    # The failure of a cell that also has figures is a note, otherwise a row.
    cells = set(zip(done["method"], done["machine"], strict=True))
    stale = [(m, w) in cells for m, w in zip(failed["method"], failed["machine"], strict=True)]
    shown = pd.concat([done, failed[[not s for s in stale]]])
    labels = _labels(shown)
    measures = _measures(done if len(done) else rows)
    columns = [Column(heading=("method",), left=True)]
    cell_columns = [[Cell(text=label) for label in labels]]
    for place, name in enumerate(measures):
        texts = [figures.quality(value) for value in shown[name]]
        ranked = not name.startswith("Judged")
        values = [value if ranked and is_known(value) else None for value in shown[name]]
        columns.append(Column(heading=(name,), priority=place))
        cell_columns.append(marked_cells([Cell(text=t) for t in texts], values, second=False))
        if place == 0:
            columns.append(Column(heading=("95% interval",), priority=1))
            ends = zip(shown[f"{name} low"], shown[f"{name} high"], strict=True)
            cell_columns.append([Cell(text=figures.interval(low, high)) for low, high in ends])
    if not measures:
        columns.append(Column(heading=("status",)))
        cell_columns.append([Cell(text=status) for status in shown["status"]])
    return Table(
        title=task,
        kind="quality",
        subtitle=_collection(rows.iloc[0]),
        columns=tuple(columns),
        rows=tuple(_with_status(shown, list(zip(*cell_columns, strict=True)))),
        notes=(
            *label_notes(shown["method"], shown["given"]),
            *_interval_note(done, measures),
            *_without_results(done),
            *_truncation(done),
            *_trained(done),
            *_failures(failed, stale),
        ),
    )


def _with_status(
    shown: pd.DataFrame, rows: Sequence[tuple[Cell, ...]]
) -> Iterator[tuple[Cell, ...]]:
    """Yield the rows; a failed cell has its status instead of the first figure."""
    for status, row in zip(shown["status"], rows, strict=True):
        if status == "ok":
            yield row
        else:
            yield (row[0], Cell(text=status, mark="failed"), *row[2:])


def _measures(rows: pd.DataFrame) -> list[str]:
    """Return the measures of these rows, headline first, without those that no row has."""
    names = [name.removesuffix(" low") for name in rows.columns if name.endswith(" low")]
    headline = rows["headline"].iloc[0]
    present = [name for name in names if rows[name].notna().any()]
    return sorted(
        present or [name for name in names if name == headline], key=lambda name: name != headline
    )


def _labels(rows: pd.DataFrame) -> list[str]:
    """Return the names of methods, with the machine if a method was measured on several."""
    labels = list(rows["label"])
    return [
        f"{label} @{machine}" if labels.count(label) > 1 else label
        for label, machine in zip(labels, rows["machine"], strict=True)
    ]


def _collection(row: Any) -> str:
    parts = [
        figures.count(row["documents"], "document"),
        figures.count(row["queries"], "query", "queries"),
        f"split {row['split']}",
        f"data {row['data']}" if is_known(row["data"]) else "",
    ]
    return " · ".join(part for part in parts if part)


def _interval_note(done: pd.DataFrame, measures: Sequence[str]) -> Iterator[str]:
    if len(done) and measures:
        yield f"interval of {measures[0]}: {' / '.join(sorted(set(done['interval'])))}"


def _without_results(done: pd.DataFrame) -> Iterator[str]:
    columns = (done["label"], done["queries_missing"], done["queries"])
    for label, missing, queries in zip(*columns, strict=True):
        if is_known(missing) and missing > 0:
            yield f"{label}: {missing:,} of {queries:,} queries have no results and score 0"


def _truncation(done: pd.DataFrame) -> Iterator[str]:
    """Yield a note on truncated texts for each group of methods with the same truncation."""
    alike: dict[str, list[str]] = {}
    for row in done.to_dict("records"):
        alike.setdefault(truncated(row), []).append(row["label"])
    yield from (f"{', '.join(labels)}: {text}" for text, labels in alike.items() if text)


def _trained(done: pd.DataFrame) -> Iterator[str]:
    for method, note in zip(done["method"], done["trained"], strict=True):
        if is_known(note):
            yield f"{method}: {note}"


def _failures(failed: pd.DataFrame, stale: Sequence[bool]) -> Iterator[str]:
    columns = (failed["label"], failed["status"], failed["error"], stale)
    for label, status, error, old in zip(*columns, strict=True):
        lines = str(error).strip().splitlines() if is_known(error) else []
        reason = lines[0] if lines else "no message"
        last = "; the figures are of the run before" if old else ""
        yield f"{label}: {status}: {reason}{last}"


def _efficiency(task: str, rows: pd.DataFrame) -> Table:
    columns = [Column(heading=("method",), left=True)]
    cells = [[Cell(text=label) for label in rows["label"]]]
    flags = [_flags(row) for row in rows.to_dict("records")]
    for name, cost in BY_COLUMN.items():
        values = [value if is_known(value) else None for value in rows[name]]
        if all(value is None for value in values):
            continue
        unit, values = cost.in_unit(values)
        columns.append(Column(heading=_heading(cost, unit), priority=cost.priority))
        cells.append(_cost_column(cost, values, [found.get(name) for found in flags]))
    return Table(
        title=task,
        kind="speed and memory",
        subtitle=_machine(rows.iloc[0]),
        columns=tuple(columns),
        rows=tuple(zip(*cells, strict=True)),
        notes=(
            *label_notes(rows["method"], rows["given"]),
            *dict.fromkeys(flag.note for found in flags for flag in found.values()),
            *_open_ended(rows),
        ),
    )


def _flags(row: Mapping[Any, Any]) -> dict[str, Flag]:
    """Return column -> flag, from the frame's columns `reused` and `unsteady`."""
    named = {"unsteady": VARIED, "reused": CACHED}
    known = {key: flag for key, flag in named.items() if is_known(row[key])}
    return {name: flag for key, flag in known.items() for name in str(row[key]).split(", ")}


def _open_ended(rows: pd.DataFrame) -> Iterator[str]:
    timed = rows[rows["timed_queries"].notna()]
    for name, cost in BY_COLUMN.items():
        yield from cost.without(list(timed["label"][timed[name].isna()]), len(rows))


def _heading(cost: Cost, unit: str) -> tuple[str, ...]:
    return (*cost.heading, unit) if cost.unit == "bytes" else cost.heading


def _cost_column(
    cost: Cost, values: Sequence[float | None], flags: Sequence[Flag | None]
) -> list[Cell]:
    """Return the cells of a cost; a figure from an earlier run is marked and never the best."""
    texts = [
        figures.flagged(value, flag.mark if flag else "")
        for value, flag in zip(values, flags, strict=True)
    ]
    competing = [
        None if flag is CACHED or not cost.ranked else value
        for value, flag in zip(values, flags, strict=True)
    ]
    cells = [Cell(text=text) for text in texts]
    return marked_cells(cells, competing, higher_is_better=cost.higher_is_better, second=False)


def _machine(row: Any) -> str:
    gpu = row["gpu"] if is_known(row["gpu"]) else ""
    cpu = row["cpu"] if is_known(row["cpu"]) else "unknown CPU"
    threads = figures.count(row["threads"], "thread")
    return " · ".join(part for part in (cpu, gpu, threads, f"machine {row['machine']}") if part)
