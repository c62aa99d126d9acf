"""The tables: all methods on all data sets, and every value measured on one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from rankstone.leaderboards import numbers
from rankstone.leaderboards.costs import BY_COLUMN, Cost, comparable_group, mark_of
from rankstone.leaderboards.frame import truncated
from rankstone.leaderboards.marks import marked
from rankstone.leaderboards.numbers import UNKNOWN
from rankstone.leaderboards.site.model import Board, Entry, Site
from rankstone.leaderboards.trained import trained_notes

HEATS = 9
"""Steps of the shade behind figures; the stylesheet defines as many."""
Means = Mapping[str, Mapping[str, float]]
"""Heading -> method -> mean over a suite, of methods that completed it."""

COSTS = [
    BY_COLUMN[column]
    for column in (
        "total_p50_ms", "total_p95_ms", "total_p99_ms", "documents_per_s", "index_memory_bytes",
        "index_disk_bytes", "peak_rss_bytes",
    )
]  # fmt: skip


class Head(NamedTuple):
    """A heading whose button sorts the column."""

    name: str
    """Names the column to a screen reader."""
    label: str
    above: str = ""
    below: str = ""
    page: str = ""
    text: bool = False
    """The column holds words."""
    rising: bool = False
    """The first press sorts upwards."""


class Cell(NamedTuple):
    text: str
    value: float | None = None
    """Sorts the column."""
    style: str = ""
    below: str = ""
    page: str = ""

    @property
    def sort(self) -> str:
        return "" if self.value is None else f"{self.value:.6g}"


class Row(NamedTuple):
    keys: Mapping[str, str]
    """Attributes that the filters read."""
    colour: int
    name: str
    machine: str
    """Empty where the name alone is unambiguous."""
    page: str
    cells: Sequence[Cell]


@dataclass(frozen=True, kw_only=True)
class Table:
    caption: str
    noun: str
    """Names the rows."""
    heads: list[Head]
    rows: list[Row]


def matrix(site: Site, means: Means) -> Table:
    """Every method in a row, every data set in a column: the headline measure of each."""
    order = _in_order(site)
    columns = [
        _mean_column(values, [method for (method, _), _ in order]) for values in means.values()
    ]
    columns += [
        _headline_column([row.get(board.name) for _, row in order]) for board in site.boards
    ]
    rows = []
    for ((method, machine), entries), cells in zip(order, zip(*columns, strict=True), strict=True):
        entry = next(iter(entries.values()))
        rows.append(_row(site, entry, cells, machine=machine if method in site.twice else ""))
    return Table(
        caption="Headline measure of every method on every data set",
        noun="methods",
        heads=[
            _text_head("method"),
            *(_suite_head(name) for name in means),
            *(_board_head(board) for board in site.boards),
        ],
        rows=rows,
    )


def board_table(site: Site, board: Board) -> Table:
    """Quality and costs of every method on one data set."""
    heads, columns = [], []
    for name in board.measures:
        heads.append(Head(name, name))
        columns.append(_measure_column(board, name))
    for cost in COSTS:
        values = [cost.of(entry.record) for entry in board.entries]
        if any(value is not None for value in values):
            unit, figures = cost.in_unit(values)
            heads.append(_cost_head(cost, unit))
            columns.append(_cost_column(board, cost, values, figures))
    columns.append([Cell(site.licence(entry.method), style="t") for entry in board.entries])
    columns.append([Cell(entry.machine, style="t") for entry in board.entries])
    return Table(
        caption=f"All values on {board.name}",
        noun="records",
        heads=[_text_head("method"), *heads, _text_head("licence"), _text_head("machine")],
        rows=[
            _row(site, entry, cells, page=entry.page)
            for entry, cells in zip(board.entries, zip(*columns, strict=True), strict=True)
        ],
    )


def _in_order(site: Site) -> list[tuple[tuple[str, str], dict[str, Entry]]]:
    """Rows by the data set that most methods ran on, the best first."""
    if not site.boards:
        return []
    widest = max(site.boards, key=lambda board: len(board.entries)).name

    def rank(item: tuple[tuple[str, str], dict[str, Entry]]) -> tuple[bool, float, Any]:
        entry = item[1].get(widest)
        value = entry.headline if entry is not None else None
        return (value is None, -(value or 0.0), item[0])

    return sorted(site.cells.items(), key=rank)


def _row(
    site: Site, entry: Entry, cells: Sequence[Cell], *, machine: str = "", page: str = ""
) -> Row:
    keys = {
        "data-family": entry.family,
        "data-machine": entry.machine,
        "data-licence": site.licence(entry.method),
        "data-page": entry.page,
    }
    return Row(keys, site.colour(entry.method), entry.name, machine, page, cells)


def _text_head(name: str) -> Head:
    return Head(name, name, text=True, rising=True)


def _board_head(board: Board) -> Head:
    family, _, name = board.name.rpartition("/")
    return Head(board.name, name, above=family, below=board.headline, page=board.page)


def _suite_head(name: str) -> Head:
    suite, _, measure = name.rpartition(" ")
    return Head(name, suite, above="mean of", below=measure)


def _cost_head(cost: Cost, unit: str) -> Head:
    *above, label = cost.heading
    below = unit if cost.unit == "bytes" else ""
    return Head(cost.name, label, " ".join(above), below, rising=not cost.higher_is_better)


def _mean_column(values: Mapping[str, float], methods: Sequence[str]) -> list[Cell]:
    means = [values.get(method) for method in methods]
    texts = [numbers.quality(mean) for mean in means]
    return [
        Cell(text, mean, mark)
        for text, mean, mark in zip(texts, means, marked(texts, means), strict=True)
    ]


def _headline_column(entries: Sequence[Entry | None]) -> list[Cell]:
    """The headline measure of each method, shaded from the lowest to the highest."""
    values = [entry.headline if entry and entry.ok else None for entry in entries]
    known = [value for value in values if value is not None]
    low, high = min(known, default=0.0), max(known, default=0.0)
    texts = [numbers.quality(value) for value in values]
    cells = []
    for entry, value, text, mark in zip(entries, values, texts, marked(texts, values), strict=True):
        if entry is None:
            cells.append(Cell(UNKNOWN))
        elif value is None:
            status = UNKNOWN if entry.ok else entry.record.status
            cells.append(Cell(status, style="bad", page=entry.page))
        else:
            share = (value - low) / (high - low) if high > low else 0.0
            style = f"h{round(share * HEATS)} {mark}".rstrip()
            cells.append(Cell(text, value, style, page=entry.page))
    return cells


def _measure_column(board: Board, name: str) -> list[Cell]:
    """A measure; of the headline also the interval, or else the kind of failure."""
    first, ranked = name == board.headline, not name.startswith("Judged")
    measures = [entry.record.measures.get(name) for entry in board.entries]
    texts = [UNKNOWN if measure is None else numbers.quality(measure.mean) for measure in measures]
    competing = [
        measure.mean if measure and ranked and entry.ok else None
        for measure, entry in zip(measures, board.entries, strict=True)
    ]
    cells = []
    for entry, measure, text, mark in zip(
        board.entries, measures, texts, marked(texts, competing), strict=True
    ):
        if measure is not None:
            below = numbers.interval(measure.low, measure.high) if first else ""
            cells.append(Cell(text, measure.mean, mark, below))
        elif first and not entry.ok:
            cells.append(Cell(entry.record.status, style="bad"))
        else:
            cells.append(Cell(UNKNOWN))
    return cells


def _cost_column(
    board: Board, cost: Cost, values: Sequence[float | None], figures: Sequence[float | None]
) -> list[Cell]:
    """A cost, the best marked among the records that it may be compared with."""
    texts = [numbers.significant(figure) for figure in figures]
    groups: dict[object, list[int]] = {}
    for n, entry in enumerate(board.entries):
        if entry.ok and cost.competes(entry.record):
            groups.setdefault(comparable_group(cost, entry.record), []).append(n)
    styles = dict[int, str]()
    for at in groups.values():
        marks = marked([texts[n] for n in at], [values[n] for n in at],
                       higher_is_better=cost.higher_is_better)  # fmt: skip
        styles.update(zip(at, marks, strict=True))
    return [
        Cell(numbers.flagged(figure, mark_of(cost, entry.record)), value, styles.get(n, ""))
        for n, (figure, value, entry) in enumerate(zip(figures, values, board.entries, strict=True))
    ]


def notes(site: Site, board: Board) -> Iterator[str]:
    """Remarks that the table needs to be read correctly."""
    yield f"{board.headline} with its interval: {board.entries[0].record.policy.intervals}."
    flags = [cost.flag(entry.record) for cost in COSTS for entry in board.entries]
    yield from dict.fromkeys(f"{flag.note}." for flag in flags if flag)
    yield from (f"{note}." for note in trained_notes(entry.record for entry in board.done))
    for entry in board.done:
        if text := truncated(entry.row):
            yield f"{site.label(entry)}: {text}."
