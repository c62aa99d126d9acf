"""The tables: all methods on all data sets, and all that was measured on one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rankstone.leaderboards import numbers as figures
from rankstone.leaderboards.numbers import UNKNOWN, is_known
from rankstone.leaderboards.site.html import escape, filters, link, sort_head
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


def matrix(site: Site, means: Means) -> str:
    """Every method in a row, every data set in a column: the headline measure of each."""
    heads = [
        sort_head("method", text=True),
        *(sort_head(name, shown=_suite_head(name)) for name in means),
        *(sort_head(board.name, shown=_board_head(board)) for board in site.boards),
    ]
    ranges = {board.name: _ends(entry.headline for entry in board.done) for board in site.boards}
    lines = []
    for (method, machine), cells in _in_order(site):
        entry = next(iter(cells.values()))
        figures_of = "".join(_mean(values, method) for values in means.values())
        figures_of += "".join(_headline(cells.get(b.name), ranges[b.name]) for b in site.boards)
        name = f"{escape(method)}{_at(machine) if method in site.twice else ''}"
        lines.append(f"<tr{_keys(site, entry)}>{_method_head(site, method, name)}{figures_of}</tr>")
    return _table(
        site, heads, lines, "Headline measure of every method on every data set", "methods"
    )


def board_table(site: Site, board: Board) -> str:
    """Quality and costs of every method on one data set."""
    costs = [name for name in COSTS if any(is_known(entry.row[name]) for entry in board.entries)]
    units = {name: _unit(board, name) for name in costs}
    heads = [
        sort_head("method", text=True),
        *(sort_head(name) for name in board.measures),
        *(
            sort_head(COSTS[name][0], shown=_cost_head(name, units[name][0]),
                      rising=not COSTS[name][2])
            for name in costs
        ),
        sort_head("licence", text=True),
        sort_head("machine", text=True),
    ]  # fmt: skip
    best = _winners(board, costs)
    lines = []
    for entry in board.entries:
        cells = "".join(_measured(entry, name, best, first=name == board.headline)
                        for name in board.measures)  # fmt: skip
        cells += "".join(_cost(entry, name, units[name][1], best) for name in costs)
        cells += f'<td class="t">{escape(site.licence(entry.method))}</td>'
        cells += f'<td class="t">{escape(entry.machine)}</td>'
        name = link(f"../{entry.page}", entry.method)
        keys = _keys(site, entry)
        lines.append(f"<tr{keys}>{_method_head(site, entry.method, name)}{cells}</tr>")
    return _table(site, heads, lines, f"All figures on {board.name}", "records")


def legend(site: Site) -> str:
    """The families and their colours."""
    marks = "".join(
        f'<li><span class="dot k{n % 12}"></span>{escape(family)}</li>'
        for n, family in enumerate(site.families)
    )
    return f'<ul class="legend" aria-label="Families of methods">{marks}</ul>'


def _table(site: Site, heads: Iterable[str], lines: Sequence[str], caption: str, noun: str) -> str:
    choices: dict[str, list[str]] = {"family": site.families, "machine": site.machines}
    bar = filters({**choices, "licence": site.licences}, noun=noun, count=len(lines))
    return (
        f'{bar}<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f'<table class="board"><caption class="unseen">{escape(caption)}</caption>'
        f"<thead><tr>{''.join(heads)}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _in_order(site: Site) -> list[tuple[tuple[str, str], dict[str, Entry]]]:
    """Rows by the data set that most methods ran on, the best first."""
    if not site.boards:
        return []
    widest = max(site.boards, key=lambda board: len(board.entries)).name

    def place(item: tuple[tuple[str, str], dict[str, Entry]]) -> tuple[bool, float, Any]:
        entry = item[1].get(widest)
        value = entry.headline if entry is not None else None
        return (value is None, -(value or 0.0), item[0])

    return sorted(site.cells.items(), key=place)


def _keys(site: Site, entry: Entry) -> str:
    """What the filters look at."""
    values = {
        "family": family_of(entry.method),
        "machine": entry.machine,
        "licence": site.licence(entry.method),
        "page": entry.page,
    }
    return "".join(f' data-{key}="{escape(value)}"' for key, value in values.items())


def _method_head(site: Site, method: str, name: str) -> str:
    return f'<th scope="row"><span class="dot k{site.colour(method)}"></span>{name}</th>'


def _at(machine: str) -> str:
    return f' <span class="dim">@{escape(machine)}</span>'


def _board_head(board: Board) -> str:
    family, _, name = board.name.rpartition("/")
    return (
        f'<span class="dim">{escape(family)}</span>{link(board.page, name)}'
        f'<span class="dim">{escape(board.headline)}</span>'
    )


def _suite_head(name: str) -> str:
    suite, _, measure = name.rpartition(" ")
    return (
        f'<span class="dim">mean of</span><span>{escape(suite)}</span>'
        f'<span class="dim">{escape(measure)}</span>'
    )


def _cost_head(name: str, unit: str) -> str:
    below = f'<span class="dim">{escape(unit)}</span>' if unit else ""
    return f"<span>{escape(COSTS[name][0])}</span>{below}"


def _mean(values: Mapping[str, float], method: str) -> str:
    if method not in values:
        return f"<td>{UNKNOWN}</td>"
    best = ' class="best"' if values[method] == max(values.values()) else ""
    return f'<td data-v="{values[method]:.6g}"{best}>{figures.quality(values[method])}</td>'


def _headline(entry: Entry | None, ends: tuple[float, float]) -> str:
    if entry is None:
        return f"<td>{UNKNOWN}</td>"
    shown = entry.record.status if not entry.ok else figures.quality(entry.headline)
    anchor = f'<a href="{entry.page}">{shown}</a>'
    if not entry.ok or entry.headline is None:
        return f'<td class="bad">{anchor}</td>'
    low, high = ends
    share = (entry.headline - low) / (high - low) if high > low else 0.0
    best = " best" if high > low and shown == figures.quality(high) else ""
    return f'<td data-v="{entry.headline:.6g}" class="h{round(share * HEATS)}{best}">{anchor}</td>'


def _ends(values: Iterable[float | None]) -> tuple[float, float]:
    known = [value for value in values if value is not None]
    return min(known, default=0.0), max(known, default=0.0)


def _measured(entry: Entry, name: str, best: Mapping[Any, str], *, first: bool) -> str:
    """A measure; of the headline also the interval, or else what went wrong."""
    measure = entry.record.measures.get(name)
    if measure is None:
        if first and not entry.ok:
            return f'<td class="bad">{escape(entry.record.status)}</td>'
        return f"<td>{UNKNOWN}</td>"
    text = figures.quality(measure.mean)
    mark = ' class="best"' if best.get(name) == text else ""
    below = f"<small>{figures.interval(measure.low, measure.high)}</small>" if first else ""
    return f'<td data-v="{measure.mean:.6g}"{mark}>{text}{below}</td>'


def _cost(entry: Entry, name: str, size: int, best: Mapping[Any, str]) -> str:
    value = entry.row[name]
    if not is_known(value):
        return f"<td>{UNKNOWN}</td>"
    text = figures.significant(value / size)
    mark = ' class="best"' if best.get((name, *_speed_group(entry, name))) == text else ""
    cached = is_known(entry.row["cached"]) and name in OF_ENCODING
    return f'<td data-v="{value:.6g}"{mark}>{text}{"†" if cached else ""}</td>'


def _unit(board: Board, name: str) -> tuple[str, int]:
    if COSTS[name][1] != "bytes":
        return COSTS[name][1], 1
    return figures.memory_unit(entry.row[name] for entry in board.entries)


def _speed_group(entry: Entry, name: str) -> tuple[Any, ...]:
    """Who competes in a cost: figures of two machines are never compared, bytes of indexes are."""
    if name.startswith("index"):
        return ()
    return entry.machine, entry.record.environment.threads


def _winners(board: Board, costs: Iterable[str]) -> dict[Any, str]:
    """How the best figure of each column reads, where there is a contest."""
    found: dict[Any, str] = {}
    for name in board.measures:
        means = [e.record.measures[name].mean for e in board.done if name in e.record.measures]
        if len(means) > 1 and not name.startswith("Judged"):
            found[name] = figures.quality(max(means))
    for name in costs:
        size, groups = _unit(board, name)[1], dict[tuple[Any, ...], list[float]]()
        for entry in board.done:
            if is_known(entry.row[name]):
                groups.setdefault(_speed_group(entry, name), []).append(entry.row[name])
        for group, values in groups.items():
            if len(values) > 1:
                pick = max if COSTS[name][2] else min
                found[(name, *group)] = figures.significant(pick(values) / size)
    return found


def notes(site: Site, board: Board) -> Iterator[str]:
    """What the table does not show by itself; HTML."""
    sample = board.entries[0].record
    yield f"{escape(board.headline)} with its interval: {escape(sample.policy.intervals)}."
    if any(is_known(entry.row["cached"]) for entry in board.entries):
        yield ("† encodings were read from the cache: docs/s is that of the run that made them,"
               " peak RSS is without encoding.")  # fmt: skip
    for entry in board.done:
        cut = [
            f"{entry.row[f'{role}_cut']:.1%} of {noun}"
            for role, noun in {"document": "documents", "query": "queries", "pair": "pairs"}.items()
            if is_known(entry.row[f"{role}_cut"]) and entry.row[f"{role}_cut"] > 0
        ]
        if cut:
            yield f"{escape(site.label(entry))}: the model’s limit cuts {' and '.join(cut)}."
    for entry in (*board.entries, *board.stale):
        if not entry.ok:
            yield failure(site, entry, place="../")


def failure(site: Site, entry: Entry, *, place: str = "") -> str:
    """A failed cell with the first line of its error."""
    error = entry.record.error
    lines = error.message.strip().splitlines() if error else []
    return (
        f'<a class="bad" href="{place}{entry.page}">{escape(site.label(entry))}:'
        f" {escape(entry.record.status)}</a>: {escape(lines[0] if lines else 'no message')}"
    )
