"""Tables of `rankstone data list`, and figures and histograms of `rankstone data stats`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from rankstone.benchmarks.availability import Entry
    from rankstone.benchmarks.dataset import Sources
    from rankstone.benchmarks.stats import Distribution, Statistics

STYLES = {
    "prepared": "green",
    "at hand": "cyan",
    "embedded": "cyan",
    "judgements": "cyan",
    "to fetch": "yellow",
    "not public": "magenta",
    "missing": "dim",
    "extra missing": "yellow",
    "see below": "bold red",
}

WIDTH = 30
"""Characters of the longest bar."""
EIGHTHS = " ▏▎▍▌▋▊▉█"


def figures(statistics: Statistics) -> RenderableType:
    """Lengths, oddities, labels, and histograms of lengths and of judgements per query."""
    labels = [(str(label), count) for label, count in statistics.labels]
    judged = ", judged by answers" if statistics.judgements_per_query is None else ""
    return Group(
        Text(f"{statistics.task}  ({statistics.source}){judged}"),
        _lengths(statistics),
        _oddities(statistics),
        *([_bars("label", labels)] if labels else []),
        *(
            _bars(title, [(_span(b.low, b.high), b.count) for b in distribution.histogram])
            for title, distribution in (
                ("characters of documents", statistics.documents.characters),
                ("characters of queries", statistics.queries.characters),
                ("judgements per query", statistics.judgements_per_query),
            )
            if distribution is not None
        ),
    )


def _lengths(statistics: Statistics) -> Table:
    names = ("", "count", "min", "median", "mean", "95%", "max")
    table = Table(*names, box=box.SIMPLE)
    for column in table.columns[1:]:
        column.justify = "right"
    rows: tuple[tuple[str, Distribution | None], ...] = (
        ("documents, characters", statistics.documents.characters),
        ("documents, words", statistics.documents.words),
        ("queries, characters", statistics.queries.characters),
        ("queries, words", statistics.queries.words),
        ("judgements per query", statistics.judgements_per_query),
    )
    for name, d in rows:
        if d is None:
            continue
        values = (d.count, d.min, d.median, d.mean, d.p95, d.max)
        table.add_row(name, *map(_figure, values))
    return table


def _oddities(statistics: Statistics) -> Table:
    table = Table("odd", "count", box=box.SIMPLE)
    table.columns[1].justify = "right"
    for name, count in (
        ("empty documents", statistics.n_empty_documents),
        ("documents with an earlier one's text", statistics.n_duplicate_documents),
        ("queries with an earlier one's text", statistics.n_duplicate_queries),
        ("queries whose id is also a document's", statistics.n_self_hit_candidates),
        ("queries without a relevant document", statistics.n_queries_without_relevant),
        ("judgements of documents not in the corpus", statistics.n_unknown_documents),
        ("queries without judgement in this split", statistics.n_unjudged_queries),
    ):
        if count is not None:
            table.add_row(name, f"{count:,}")
    return table


def _bars(title: str, rows: Iterable[tuple[str, int]]) -> Table:
    table = Table(title, "count", "", box=box.SIMPLE)
    table.columns[0].justify = table.columns[1].justify = "right"
    rows = list(rows)
    largest = max(count for _, count in rows)
    for name, count in rows:
        table.add_row(name, f"{count:,}", bar(count, largest))
    return table


def bar(count: int, largest: int) -> str:
    """A bar of at most `WIDTH` characters; any count but 0 shows."""
    eighths = -(-count * WIDTH * 8 // largest)
    return (EIGHTHS[8] * (eighths // 8) + EIGHTHS[eighths % 8]).rstrip()


def _span(low: int, high: int) -> str:
    return f"{low:,}" if low == high else f"{low:,}–{high:,}"


def _figure(value: int | float) -> str:
    return f"{value:,.1f}" if isinstance(value, float) else f"{value:,}"


def availability(entries: Sequence[Entry], sources: Sources) -> RenderableType:
    """A table of the tasks, a legend of its states, and advice on tasks without data."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=False)
    table.add_column("task", overflow="fold")
    for name in ("documents", "queries", "judgements"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("data", no_wrap=True)
    for one in entries:
        drawn = Text(one.state, style=STYLES[one.state])
        table.add_row(one.task.name, *_counts(one), drawn)
    legend = Table(box=None, show_header=False, pad_edge=False)
    meanings = {one.state: one.meaning for one in entries}
    for state in sorted(meanings, key=list(STYLES).index):
        legend.add_row(Text(state, style=STYLES[state]), meanings[state])
    data = str(sources.data) if sources.data else "not named (--data DIR, RANKSTONE_DATA)"
    folders = Table(box=None, show_header=False, pad_edge=False)
    folders.add_row("data folder", Text(data, overflow="fold"))
    folders.add_row("cache", Text(str(sources.cache), overflow="fold"))
    return Group(table, legend, *_details(entries), Text(), folders)


def _counts(one: Entry) -> list[str]:
    """Documents, queries and judgements; "answers" in place of judgements where those judge."""
    counts = ["·" if n is None else f"{n:,}" for n in one.counts.model_dump().values()]
    return [*counts[:2], "answers"] if one.task.judge == "answers" else counts


def _details(entries: Sequence[Entry]) -> list[RenderableType]:
    """Advice on single tasks, once where it is the same for several."""
    names: dict[str, list[str]] = {}
    for one in entries:
        if one.detail:
            names.setdefault(one.detail, []).append(one.task.name)
    lines: list[RenderableType] = []
    for detail, tasks in names.items():
        lines += [Text(), Text(", ".join(tasks), style="bold")]
        lines.append(Padding(Text(detail), (0, 0, 0, 2)))
    return lines
