"""The figures of a collection for people: a table, and histograms drawn in text."""

from __future__ import annotations

from collections.abc import Iterable

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rankstone.benchmarks.stats import Distribution, Statistics

WIDTH = 30
"""Characters of the longest bar."""
EIGHTHS = " ▏▎▍▌▋▊▉█"


def show(statistics: Statistics) -> RenderableType:
    """Lengths, what is odd, labels, and histograms of lengths and of judgements per query."""
    labels = [(str(label), count) for label, count in statistics.labels]
    judged = ", judged by answers" if statistics.judgements_per_query is None else ""
    return Group(
        Text(f"{statistics.task}  ({statistics.source}){judged}"),
        _lengths(statistics),
        _oddities(statistics),
        *([_bars("label", labels)] if labels else []),
        *(
            _bars(title, [(_span(b.low, b.high), b.count) for b in figures.histogram])
            for title, figures in (
                ("characters of documents", statistics.documents.characters),
                ("characters of queries", statistics.queries.characters),
                ("judgements per query", statistics.judgements_per_query),
            )
            if figures is not None
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
        figures = (d.count, d.min, d.median, d.mean, d.p95, d.max)
        table.add_row(name, *(_figure(value) for value in figures))
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
    """A bar of at most `WIDTH` characters; whatever is not 0 shows."""
    eighths = -(-count * WIDTH * 8 // largest)
    return (EIGHTHS[8] * (eighths // 8) + EIGHTHS[eighths % 8]).rstrip()


def _span(low: int, high: int) -> str:
    return f"{low:,}" if low == high else f"{low:,}–{high:,}"


def _figure(value: int | float) -> str:
    return f"{value:,.1f}" if isinstance(value, float) else f"{value:,}"
