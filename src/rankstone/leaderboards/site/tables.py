"""Tables of the site: all methods on all data sets, and all values of one data set."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from rankstone.leaderboards import numbers
from rankstone.leaderboards.costs import BY_COLUMN, BY_NAME, Cost, comparable_group, mark_of
from rankstone.leaderboards.frame import truncated
from rankstone.leaderboards.marks import marked
from rankstone.leaderboards.numbers import UNKNOWN
from rankstone.leaderboards.site.citations import linked
from rankstone.leaderboards.site.fronts import COSTS as PLOTTED
from rankstone.leaderboards.site.model import Board, Entry, Site
from rankstone.leaderboards.site.views import Ranked, View, Views, anchor
from rankstone.leaderboards.trained import TAGS, trained_note, training_tag

NEAR = "near"
"""Style of the best figure, and of those not significantly below it."""

COSTS = [
    BY_COLUMN[column]
    for column in (
        "total_p50_ms", "total_p95_ms", "total_p99_ms", "documents_per_s", "index_memory_bytes",
        "index_disk_bytes", "peak_rss_bytes",
    )
]  # fmt: skip


class Head(NamedTuple):
    """Column heading with a button that sorts the column."""

    name: str
    """Name of the column for screen readers."""
    label: str
    above: str = ""
    below: str = ""
    page: str = ""
    text: bool = False
    """True if the column contains text."""
    rising: bool = False
    """True if the first click sorts in ascending order."""


class Cell(NamedTuple):
    text: str
    value: float | None = None
    """Sort key in the column."""
    style: str = ""
    below: str = ""
    page: str = ""
    link: str = ""
    """External URL."""

    @property
    def sort(self) -> str:
        return "" if self.value is None else f"{self.value:.6g}"


class Row(NamedTuple):
    keys: Mapping[str, str]
    """Attributes used by the filters."""
    colour: int
    name: str
    machine: str
    """Machine; empty if the name alone is unambiguous."""
    page: str
    cells: Sequence[Cell]
    rank: int | None = None


@dataclass(frozen=True, kw_only=True)
class Table:
    caption: str
    noun: str
    """Noun for the rows."""
    heads: list[Head]
    rows: list[Row]


def decision_table(site: Site, view: View) -> Table:
    """Return rank, quality, costs, training, licence and paper of every method of a view."""
    plotted = map(BY_NAME.__getitem__, PLOTTED)
    costs = [c for c in plotted if any(row.cost(c) is not None for row in view.rows)]
    columns = [_view_column(view), *(_costs_of(view, cost) for cost in costs)]
    heads = [Head("quality", view.measure, above="mean" if view.is_mean else "")]
    heads += [_cost_head(cost, _unit(view, cost)) for cost in costs]
    means = [row.mean for row in view.rows]
    rows = []
    for row, cells in zip(view.rows, zip(*columns, strict=True), strict=True):
        machine = row.entry.machine if row.entry.method in site.twice else ""
        facts = [
            Cell(_training(row), style="t"),
            Cell(site.licence(row.entry.method), style="t"),
            _paper(site.citation(row.entry.method)),
        ]
        rank = 1 + sum(mean > row.mean for mean in means)
        made = _row(site, row.entry, [*cells, *facts], machine=machine, page=row.page, rank=rank)
        rows.append(made._replace(keys={**made.keys, "data-training": _training(row)}))
    return Table(
        caption=f"Methods by {view.measure}, {view.name}, and their costs",
        noun="methods",
        heads=[_text_head("method"), *heads, *map(_text_head, ("training", "licence", "paper"))],
        rows=rows,
    )


def _unit(view: View, cost: Cost) -> str:
    return cost.in_unit([row.cost(cost) for row in view.rows])[0]


def _view_column(view: View) -> list[Cell]:
    texts = [numbers.quality(row.mean) for row in view.rows]
    marks = marked(texts, [row.mean for row in view.rows], close=view.close or ())
    return [
        Cell(text, row.mean, NEAR if mark else "", _ends(row.low, row.high))
        for row, text, mark in zip(view.rows, texts, marks, strict=True)
    ]


def _ends(low: float | None, high: float | None) -> str:
    return numbers.interval(low, high) if numbers.is_known(low) and numbers.is_known(high) else ""


def _costs_of(view: View, cost: Cost) -> list[Cell]:
    return _cost_cells(
        cost,
        [row.cost(cost) for row in view.rows],
        [row.mark(cost) for row in view.rows],
        [row.group(cost) for row in view.rows],
        [row.competes(cost) for row in view.rows],
    )


def _training(row: Ranked) -> str:
    tags = {training_tag(entry.record) for entry in row.entries.values()}
    return next(tag for tag in TAGS if tag in tags)


def _paper(citation: str) -> Cell:
    """Return the authors and year of a citation, linked if it has a link."""
    text = ", ".join(re.findall(r"^[^,]+|(?<=\D)(?:19|20)\d\d(?=\D|$)", citation)[:2])
    link = next((piece.url for piece in linked(citation) if piece.url), "")
    return Cell(text or UNKNOWN, style="t", link=link)


def matrix(site: Site, views: Views) -> Table:
    """Return the headline measure of every method (rows) on every data set (columns)."""
    order = _in_order(site)
    columns = [_mean_column(view, [cell for cell, _ in order]) for view in views.means]
    columns += [
        _headline_column(views.boards[board.name], [row.get(board.name) for _, row in order])
        for board in site.boards
    ]
    rows = []
    for ((method, machine), entries), cells in zip(order, zip(*columns, strict=True), strict=True):
        entry = next(iter(entries.values()))
        shown = machine if method in site.twice else ""
        rows.append(_row(site, entry, cells, machine=shown, id=anchor(entry)))
    return Table(
        caption="Headline measure of every method on every data set",
        noun="methods",
        heads=[
            _text_head("method"),
            *(_mean_head(view) for view in views.means),
            *(_board_head(board) for board in site.boards),
        ],
        rows=rows,
    )


def board_table(site: Site, board: Board, view: View) -> Table:
    """Return quality and costs of every method on one data set."""
    heads, columns = [], []
    for name in board.measures:
        heads.append(Head(name, name))
        columns.append(_measure_column(view, board, name))
    for cost in COSTS:
        values = [cost.of(entry.record) for entry in board.entries]
        if any(value is not None for value in values):
            heads.append(_cost_head(cost, cost.in_unit(values)[0]))
            columns.append(_cost_column(board, cost, values))
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
    """Return the rows sorted by the data set that most methods ran on, best first."""
    if not site.boards:
        return []
    widest = max(site.boards, key=lambda board: len(board.entries)).name

    def rank(item: tuple[tuple[str, str], dict[str, Entry]]) -> tuple[bool, float, Any]:
        entry = item[1].get(widest)
        value = entry.headline if entry is not None else None
        return (value is None, -(value or 0.0), item[0])

    return sorted(site.cells.items(), key=rank)


def _row(
    site: Site,
    entry: Entry,
    cells: Sequence[Cell],
    *,
    machine: str = "",
    page: str = "",
    rank: int | None = None,
    id: str = "",
) -> Row:
    keys = {
        "data-family": entry.family,
        "data-machine": entry.machine,
        "data-licence": site.licence(entry.method),
        "data-training": training_tag(entry.record),
        "data-page": entry.page,
        **({"id": id} if id else {}),
    }
    name = entry.name if rank is None else entry.plain  # training has a column of its own
    return Row(keys, site.colour(entry.method), name, machine, page, cells, rank)


def _text_head(name: str) -> Head:
    return Head(name, name, text=True, rising=True)


def _board_head(board: Board) -> Head:
    family, _, name = board.name.rpartition("/")
    return Head(board.name, name, above=family, below=board.headline, page=board.page)


def _mean_head(view: View) -> Head:
    above = "mean of" if view.suite else ""
    return Head(f"{view.name} {view.measure}", view.name, above=above, below=view.measure)


def _cost_head(cost: Cost, unit: str) -> Head:
    *above, label = cost.heading
    below = unit if cost.unit == "bytes" else ""
    return Head(cost.name, label, " ".join(above), below, rising=not cost.higher_is_better)


def _mean_column(view: View, cells: Sequence[tuple[str, str]]) -> list[Cell]:
    drawn = dict(zip((row.entry.cell for row in view.rows), _view_column(view), strict=True))
    return [drawn[cell]._replace(below="") if cell in drawn else Cell(UNKNOWN) for cell in cells]


def _headline_column(view: View, entries: Sequence[Entry | None]) -> list[Cell]:
    """Return the headline measure of each method."""
    drawn = dict(zip((row.entry.page for row in view.rows), _view_column(view), strict=True))
    cells = []
    for entry in entries:
        if entry is None:
            cells.append(Cell(UNKNOWN))
        elif entry.page in drawn:
            cells.append(drawn[entry.page]._replace(below="", page=entry.page))
        else:
            status = UNKNOWN if entry.ok else entry.record.status
            cells.append(Cell(status, style="bad", page=entry.page))
    return cells


def _measure_column(view: View, board: Board, name: str) -> list[Cell]:
    """Return a column; the headline's has also the interval, or the kind of failure."""
    if name == board.headline:
        drawn = dict(zip((row.entry.page for row in view.rows), _view_column(view), strict=True))
        return [drawn.get(e.page) or _no_headline(e) for e in board.entries]
    measures = [entry.record.measures.get(name) for entry in board.entries]
    return [
        Cell(UNKNOWN) if one is None else Cell(numbers.quality(one.mean), one.mean)
        for one in measures
    ]


def _no_headline(entry: Entry) -> Cell:
    return Cell(UNKNOWN) if entry.ok else Cell(entry.record.status, style="bad")


def _cost_column(board: Board, cost: Cost, values: Sequence[float | None]) -> list[Cell]:
    records = [entry.record for entry in board.entries]
    able = [entry.ok and cost.competes(entry.record) for entry in board.entries]
    marks = [mark_of(cost, record) for record in records]
    return _cost_cells(cost, values, marks, [comparable_group(cost, r) for r in records], able)


def _cost_cells(
    cost: Cost,
    values: Sequence[float | None],
    marks: Sequence[str],
    groups: Sequence[object],
    able: Sequence[bool],
) -> list[Cell]:
    """Return the column of a cost, with the best of each comparable group marked."""
    _, figures = cost.in_unit(values)
    texts = [numbers.significant(figure) for figure in figures]
    together: dict[object, list[int]] = {}
    for n, group in enumerate(groups):
        if able[n]:
            together.setdefault(group, []).append(n)
    styles = dict[int, str]()
    for at in together.values():
        best = marked([texts[n] for n in at], [values[n] for n in at],
                      higher_is_better=cost.higher_is_better)  # fmt: skip
        styles.update(zip(at, best, strict=True))
    return [
        Cell(numbers.flagged(figure, mark), value, styles.get(n, ""))
        for n, (figure, value, mark) in enumerate(zip(figures, values, marks, strict=True))
    ]


def notes(board: Board) -> Iterator[str]:
    """Yield remarks that are needed to interpret the table, each once."""
    yield f"{board.headline} with its interval: {board.entries[0].record.policy.intervals}."
    flags = [cost.flag(entry.record) for cost in COSTS for entry in board.entries]
    yield from dict.fromkeys(f"{flag.note}." for flag in flags if flag)


def method_notes(board: Board) -> list[tuple[str, list[Entry]]]:
    """Return remarks, each with the methods that it applies to."""
    found: dict[str, list[Entry]] = {}
    for entry in board.done:
        if entry.record.is_trained:
            found.setdefault(trained_note(entry.record), []).append(entry)
        if text := truncated(entry.row):
            found.setdefault(text, []).append(entry)
    return list(found.items())
