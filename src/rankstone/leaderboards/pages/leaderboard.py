"""What a leaderboard shows, before it is drawn: titled tables of text, with the best marked.

Quality is compared within one task and one set of data. Speed and memory are compared within one
machine and number of threads: each has a table of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from rankstone.leaderboards import numbers as figures
from rankstone.leaderboards.numbers import UNKNOWN, is_known

CACHED_MARK = "†"
CACHED_NOTE = (
    f"{CACHED_MARK} encodings read from the cache: docs/s is that of the run that made them, "
    "peak RSS is without encoding"
)


@dataclass(frozen=True, kw_only=True)
class Column:
    header: tuple[str, ...]
    """Lines of the heading: the figure, then its percentile and unit."""
    rank: int = 0
    """0 always stays; of the others the highest goes first where room is short."""
    text: bool = False


@dataclass(frozen=True, kw_only=True)
class Cell:
    text: str
    mark: Literal["", "best", "failed"] = ""


@dataclass(frozen=True, kw_only=True)
class View:
    """One table. Every row has one cell per column."""

    task: str
    kind: Literal["quality", "efficiency"]
    subtitle: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()


def views(frame: pd.DataFrame, *, short_names: bool = False) -> list[View]:
    """The tables of a leaderboard frame (`rankstone.leaderboards.frame.leaderboard`).

    Args:
        frame: One row per record, with its column names.
        short_names: Call `dense/e5-base` just `e5-base` where no other method is called that.
    """
    names = _short_names(frame) if short_names else {}
    labelled = frame.assign(
        label=[names.get(method, method) for method in frame["method"]], data=known_data(frame)
    )
    found: list[View] = []
    for (task, _), rows in labelled.groupby(["task", "data"], sort=False, dropna=False):
        found.append(_quality(str(task), rows))
        timed = rows[(rows["status"] == "ok") & rows[list(_MEASURED)].notna().any(axis=1)]
        for _, here in timed.groupby(["machine", "threads"], sort=False, dropna=False):
            found.append(_efficiency(str(task), here))
    return found


def known_data(frame: pd.DataFrame) -> list[Any]:
    """The column `data`. A failure before the data was opened belongs to the figures of its task,
    where those are all of one set of data.
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


def _quality(task: str, rows: pd.DataFrame) -> View:
    done, failed = rows[rows["status"] == "ok"], rows[rows["status"] != "ok"]
    # A failure of a cell that has figures is told in a note; alone, it has a row.
    cells = set(zip(done["method"], done["machine"], strict=True))
    stale = [(m, w) in cells for m, w in zip(failed["method"], failed["machine"], strict=True)]
    shown = pd.concat([done, failed[[not s for s in stale]]])
    labels = _labels(shown)
    measures = _measures(done if len(done) else rows)
    columns = [Column(header=("method",), text=True)]
    cell_columns = [[Cell(text=label) for label in labels]]
    for place, name in enumerate(measures):
        values = [figures.quality(value) for value in shown[name]]
        best = max if not name.startswith("Judged") else None
        columns.append(Column(header=(name,), rank=place))
        cell_columns.append(_marked(values, list(shown[name]), best))
        if place == 0:
            columns.append(Column(header=("95% interval",), rank=1, text=True))
            ends = zip(shown[f"{name} low"], shown[f"{name} high"], strict=True)
            cell_columns.append([Cell(text=figures.interval(low, high)) for low, high in ends])
    if not measures:
        columns.append(Column(header=("status",), text=True))
        cell_columns.append([Cell(text=status) for status in shown["status"]])
    return View(
        task=task,
        kind="quality",
        subtitle=_collection(rows.iloc[0]),
        columns=tuple(columns),
        rows=tuple(_with_status(shown, list(zip(*cell_columns, strict=True)))),
        notes=(
            *_interval_note(done, measures),
            *_without_results(done),
            *_truncation(done),
            *_failures(failed, stale),
        ),
    )


def _with_status(
    shown: pd.DataFrame, rows: Sequence[tuple[Cell, ...]]
) -> Iterator[tuple[Cell, ...]]:
    """Failed cells say so in place of their first figure."""
    for status, row in zip(shown["status"], rows, strict=True):
        if status == "ok":
            yield row
        else:
            yield (row[0], Cell(text=status, mark="failed"), *row[2:])


def _measures(rows: pd.DataFrame) -> list[str]:
    """Measures of these rows, the headline first; another that nobody has is left out."""
    names = [name.removesuffix(" low") for name in rows.columns if name.endswith(" low")]
    headline = rows["headline"].iloc[0]
    present = [name for name in names if rows[name].notna().any()]
    return sorted(
        present or [name for name in names if name == headline], key=lambda name: name != headline
    )


def _labels(rows: pd.DataFrame) -> list[str]:
    """Names of methods, with the machine where the same method was measured on several."""
    labels = list(rows["label"])
    return [
        f"{label} @{machine}" if labels.count(label) > 1 else label
        for label, machine in zip(labels, rows["machine"], strict=True)
    ]


def _marked(
    texts: Sequence[str], values: Sequence[Any], best: Callable[..., Any] | None
) -> list[Cell]:
    """Cells with the best marked: all that read like it, and none where there is no contest."""
    known = [value for value in values if is_known(value)]
    if best is None or len(known) < 2:
        return [Cell(text=text) for text in texts]
    winner = texts[list(values).index(best(known))]
    return [Cell(text=text, mark="best" if text == winner else "") for text in texts]


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
    """Long-context numbers cannot be read without it."""
    for _, row in done.iterrows():
        nouns = {"document": "documents", "query": "queries", "pair": "re-scored pairs"}
        cut = [
            f"{row[f'{role}_cut']:.1%} of {noun} ({row[f'{role}_tokens_cut']:.1%} of their tokens)"
            for role, noun in nouns.items()
            if is_known(row[f"{role}_cut"]) and row[f"{role}_cut"] > 0
        ]
        if cut:
            yield f"{row['label']}: the model's limit cuts {' and '.join(cut)}"


def _failures(failed: pd.DataFrame, stale: Sequence[bool]) -> Iterator[str]:
    columns = (failed["label"], failed["status"], failed["error"], stale)
    for label, status, error, old in zip(*columns, strict=True):
        lines = str(error).strip().splitlines() if is_known(error) else []
        reason = lines[0] if lines else "no message"
        last = "; the figures are of the run before" if old else ""
        yield f"{label}: {status}: {reason}{last}"


@dataclass(frozen=True, kw_only=True)
class _Figure:
    """How one measured column is shown."""

    header: tuple[str, ...]
    best: Callable[..., Any]
    rank: int
    bytes: bool = False


_MEASURED = {
    "documents_per_s": _Figure(header=("docs/s",), best=max, rank=3),
    "queries_per_s": _Figure(header=("queries/s",), best=max, rank=8),
    "encode_p50_ms": _Figure(header=("encode", "p50 ms"), best=min, rank=6),
    "search_p50_ms": _Figure(header=("search", "p50 ms"), best=min, rank=5),
    "total_p50_ms": _Figure(header=("total", "p50 ms"), best=min, rank=1),
    "total_p95_ms": _Figure(header=("total", "p95 ms"), best=min, rank=7),
    "total_p99_ms": _Figure(header=("total", "p99 ms"), best=min, rank=2),
    "index_memory_bytes": _Figure(header=("index",), best=min, rank=2, bytes=True),
    "index_disk_bytes": _Figure(header=("on disk",), best=min, rank=9, bytes=True),
    "peak_rss_bytes": _Figure(header=("peak RSS",), best=min, rank=4, bytes=True),
    "peak_gpu_bytes": _Figure(header=("peak GPU",), best=min, rank=10, bytes=True),
    "flop_utilisation": _Figure(header=("of peak", "FLOP/s"), best=max, rank=11),
}


_ENCODING = ("documents_per_s", "peak_rss_bytes")
"""Figures that mean something else where encodings were read from the cache."""


def _efficiency(task: str, rows: pd.DataFrame) -> View:
    columns = [Column(header=("method",), text=True)]
    cells = [[Cell(text=label) for label in rows["label"]]]
    cached = [is_known(value) for value in rows["cached"]]
    for name, figure in _MEASURED.items():
        values = [value if is_known(value) else None for value in rows[name]]
        if all(value is None for value in values):
            continue
        header = figure.header
        if figure.bytes:
            unit, size = figures.memory_unit(values)
            header, values = (*header, unit), [None if v is None else v / size for v in values]
        texts = [figures.significant(value) for value in values]
        column = _marked(texts, values, figure.best)
        if name in _ENCODING:
            column = [_with_mark(cell, old) for cell, old in zip(column, cached, strict=True)]
        columns.append(Column(header=header, rank=figure.rank))
        cells.append(column)
    return View(
        task=task,
        kind="efficiency",
        subtitle=_machine(rows.iloc[0]),
        columns=tuple(columns),
        rows=tuple(zip(*cells, strict=True)),
        notes=(CACHED_NOTE,) if any(cached) else (),
    )


def _with_mark(cell: Cell, cached: bool) -> Cell:
    known = cell.text != UNKNOWN
    return Cell(text=f"{cell.text}{CACHED_MARK}" if cached and known else cell.text, mark=cell.mark)


def _machine(row: Any) -> str:
    gpu = row["gpu"] if is_known(row["gpu"]) else ""
    cpu = row["cpu"] if is_known(row["cpu"]) else "unknown CPU"
    threads = figures.count(row["threads"], "thread")
    return " · ".join(part for part in (cpu, gpu, threads, f"machine {row['machine']}") if part)
