"""The tables: all methods on all data sets, and every value measured on one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from rankstone.leaderboards import numbers
from rankstone.leaderboards.numbers import UNKNOWN, is_known
from rankstone.leaderboards.site.model import Board, Entry, Site, family_of

HEATS = 9
"""Steps of the shade behind figures; the stylesheet names as many."""
Means = Mapping[str, Mapping[str, float]]
"""Heading -> method -> mean over a suite; only methods that have all of it."""

COSTS = {
    # Column of the frame -> heading, unit, whether more is better.
    "total_p50_ms": ("p50", "ms", False),
    "total_p95_ms": ("p95", "ms", False),
    "total_p99_ms": ("p99", "ms", False),
    "documents_per_s": ("docs/s", "", True),
    "index_memory_bytes": ("index", "bytes", False),
    "index_disk_bytes": ("on disk", "bytes", False),
    "peak_rss_bytes": ("peak RSS", "bytes", False),
}
OF_ENCODING = ("documents_per_s", "peak_rss_bytes")
"""Figures that mean something else where encodings were read from the cache."""


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
    cells: list[Cell]


@dataclass(frozen=True, kw_only=True)
class Table:
    caption: str
    noun: str
    """Names the rows."""
    heads: list[Head]
    rows: list[Row]


def matrix(site: Site, means: Means) -> Table:
    """Every method in a row, every data set in a column: the headline measure of each."""
    ends = {board.name: _ends(entry.headline for entry in board.done) for board in site.boards}
    rows = []
    for (method, machine), entries in _in_order(site):
        cells = [_mean(values, method) for values in means.values()]
        cells += [_headline(entries.get(b.name), *ends[b.name]) for b in site.boards]
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
    costs = [name for name in COSTS if any(is_known(entry.row[name]) for entry in board.entries)]
    units = {name: _unit(board, name) for name in costs}
    best = _winners(board, costs)
    rows = []
    for entry in board.entries:
        cells = [_measured(entry, m, best, first=m == board.headline) for m in board.measures]
        cells += [_cost(entry, name, units[name][1], best) for name in costs]
        cells += [Cell(site.licence(entry.method), style="t"), Cell(entry.machine, style="t")]
        rows.append(_row(site, entry, cells, page=entry.page))
    return Table(
        caption=f"All values on {board.name}",
        noun="records",
        heads=[
            _text_head("method"),
            *(Head(name, name) for name in board.measures),
            *(_cost_head(name, units[name][0]) for name in costs),
            _text_head("licence"),
            _text_head("machine"),
        ],
        rows=rows,
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


def _row(site: Site, entry: Entry, cells: list[Cell], *, machine: str = "", page: str = "") -> Row:
    keys = {
        "data-family": family_of(entry.method),
        "data-machine": entry.machine,
        "data-licence": site.licence(entry.method),
        "data-page": entry.page,
    }
    return Row(keys, site.colour(entry.method), entry.method, machine, page, cells)


def _text_head(name: str) -> Head:
    return Head(name, name, text=True, rising=True)


def _board_head(board: Board) -> Head:
    family, _, name = board.name.rpartition("/")
    return Head(board.name, name, above=family, below=board.headline, page=board.page)


def _suite_head(name: str) -> Head:
    suite, _, measure = name.rpartition(" ")
    return Head(name, suite, above="mean of", below=measure)


def _cost_head(name: str, unit: str) -> Head:
    title, _, more_is_better = COSTS[name]
    return Head(title, title, below=unit, rising=not more_is_better)


def _mean(values: Mapping[str, float], method: str) -> Cell:
    if method not in values:
        return Cell(UNKNOWN)
    best = "best" if values[method] == max(values.values()) else ""
    return Cell(numbers.quality(values[method]), values[method], best)


def _headline(entry: Entry | None, low: float, high: float) -> Cell:
    if entry is None:
        return Cell(UNKNOWN)
    value = entry.headline
    text = entry.record.status if not entry.ok else numbers.quality(value)
    if not entry.ok or value is None:
        return Cell(text, style="bad", page=entry.page)
    share = (value - low) / (high - low) if high > low else 0.0
    best = " best" if high > low and text == numbers.quality(high) else ""
    return Cell(text, value, f"h{round(share * HEATS)}{best}", page=entry.page)


def _ends(values: Iterable[float | None]) -> tuple[float, float]:
    known = [value for value in values if value is not None]
    return min(known, default=0.0), max(known, default=0.0)


def _measured(entry: Entry, name: str, best: Mapping[Any, str], *, first: bool) -> Cell:
    """A measure; of the headline also the interval, or else the kind of failure."""
    measure = entry.record.measures.get(name)
    if measure is None:
        failed = first and not entry.ok
        return Cell(entry.record.status, style="bad") if failed else Cell(UNKNOWN)
    text = numbers.quality(measure.mean)
    style = "best" if best.get(name) == text else ""
    below = numbers.interval(measure.low, measure.high) if first else ""
    return Cell(text, measure.mean, style, below)


def _cost(entry: Entry, name: str, size: int, best: Mapping[Any, str]) -> Cell:
    value = entry.row[name]
    if not is_known(value):
        return Cell(UNKNOWN)
    text = numbers.significant(value / size)
    style = "best" if best.get((name, *_speed_group(entry, name))) == text else ""
    cached = is_known(entry.row["cached"]) and name in OF_ENCODING
    return Cell(f"{text}†" if cached else text, value, style)


def _unit(board: Board, name: str) -> tuple[str, int]:
    if COSTS[name][1] != "bytes":
        return COSTS[name][1], 1
    return numbers.memory_unit(entry.row[name] for entry in board.entries)


def _speed_group(entry: Entry, name: str) -> tuple[Any, ...]:
    """Who competes in a cost: figures of two machines are never compared, bytes of indexes are."""
    if name.startswith("index"):
        return ()
    return entry.machine, entry.record.environment.threads


def _winners(board: Board, costs: Iterable[str]) -> dict[Any, str]:
    """The best figure of each column as it reads, where there is a contest."""
    found: dict[Any, str] = {}
    for name in board.measures:
        means = [e.record.measures[name].mean for e in board.done if name in e.record.measures]
        if len(means) > 1 and not name.startswith("Judged"):
            found[name] = numbers.quality(max(means))
    for name in costs:
        size, groups = _unit(board, name)[1], dict[tuple[Any, ...], list[float]]()
        for entry in board.done:
            if is_known(entry.row[name]):
                groups.setdefault(_speed_group(entry, name), []).append(entry.row[name])
        for group, values in groups.items():
            if len(values) > 1:
                pick = max if COSTS[name][2] else min
                found[(name, *group)] = numbers.significant(pick(values) / size)
    return found


def notes(site: Site, board: Board) -> Iterator[str]:
    """Remarks that the table needs to be read correctly."""
    yield f"{board.headline} with its interval: {board.entries[0].record.policy.intervals}."
    if any(is_known(entry.row["cached"]) for entry in board.entries):
        yield (
            "† Encodings were read from the cache: docs/s is that of the run that made them, and"
            " peak RSS excludes encoding."
        )
    for entry in board.done:
        truncated = [
            f"{entry.row[f'{role}_cut']:.1%} of {noun}"
            for role, noun in {"document": "documents", "query": "queries", "pair": "pairs"}.items()
            if is_known(entry.row[f"{role}_cut"]) and entry.row[f"{role}_cut"] > 0
        ]
        if truncated:
            shares = " and ".join(truncated)
            yield f"{site.label(entry)}: {shares} were truncated at the model’s limit."
