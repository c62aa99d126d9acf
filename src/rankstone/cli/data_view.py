"""Pages of `rankstone data list` and `rankstone data stats`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from rankstone.leaderboards.document import Block, Cell, Mark, Page, Paragraph, Table, table

if TYPE_CHECKING:
    from rankstone.benchmarks.availability import Entry
    from rankstone.benchmarks.dataset import Sources
    from rankstone.benchmarks.stats import Distribution, Statistics

MARKS: Mapping[str, Mark] = {
    "prepared": "passed", "available": "", "embedded": "", "judgements": "", "to fetch": "unclear",
    "not public": "unclear", "missing": "", "extra missing": "unclear", "see below": "failed",
}  # fmt: skip
"""State -> mark, in the order of the legend."""
COUNTS = ("documents", "queries", "judgements")
LENGTHS = ("count", "min", "median", "mean", "95%", "max")
WIDTH = 30
"""Length of the longest bar, in characters."""
EIGHTHS = " ▏▎▍▌▋▊▉█"


def figures(statistics: Statistics) -> Page:
    """Return lengths, irregularities, labels, histograms of lengths and judgements per query."""
    labels = [(str(label), count) for label, count in statistics.labels]
    judged = ", judged by answers" if statistics.judgements_per_query is None else ""
    histograms = (
        ("characters of documents", statistics.documents.characters),
        ("characters of queries", statistics.queries.characters),
        ("judgements per query", statistics.judgements_per_query),
    )
    return Page(
        title=f"{statistics.task}  ({statistics.source}){judged}",
        blocks=(
            _lengths(statistics),
            table(("odd", "count"), _oddities(statistics), figures=["count"]),
            *([_bars("label", labels)] if labels else []),
            *(
                _bars(title, [(_span(b.low, b.high), b.count) for b in one.histogram])
                for title, one in histograms
                if one is not None
            ),
        ),
        body=statistics.as_json(),
    )


def _lengths(statistics: Statistics) -> Table:
    rows: tuple[tuple[str, Distribution | None], ...] = (
        ("documents, characters", statistics.documents.characters),
        ("documents, words", statistics.documents.words),
        ("queries, characters", statistics.queries.characters),
        ("queries, words", statistics.queries.words),
        ("judgements per query", statistics.judgements_per_query),
    )
    texts = (
        (name, *map(_figure, (d.count, d.min, d.median, d.mean, d.p95, d.max)))
        for name, d in rows
        if d is not None
    )
    return table(("lengths", *LENGTHS), texts, figures=LENGTHS)


def _oddities(statistics: Statistics) -> Iterator[tuple[str, str]]:
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
            yield name, f"{count:,}"


def _bars(title: str, rows: Sequence[tuple[str, int]]) -> Table:
    largest = max(count for _, count in rows)
    texts = ((name, f"{count:,}", bar(count, largest)) for name, count in rows)
    return table((title, "count", ""), texts, figures=(title, "count"))


def bar(count: int, largest: int) -> str:
    """Return a bar of at most `WIDTH` characters; counts above 0 are always visible."""
    eighths = -(-count * WIDTH * 8 // largest)
    return (EIGHTHS[8] * (eighths // 8) + EIGHTHS[eighths % 8]).rstrip()


def _span(low: int, high: int) -> str:
    return f"{low:,}" if low == high else f"{low:,}–{high:,}"


def _figure(value: int | float) -> str:
    return f"{value:,.1f}" if isinstance(value, float) else f"{value:,}"


def availability(entries: Sequence[Entry], sources: Sources) -> Page:
    """Return the tasks, a legend of their states, and advice on tasks without data."""
    data = str(sources.data) if sources.data else "not named (--data DIR, RANKSTONE_DATA)"
    meanings = {one.state: one.meaning for one in entries}
    legend = [(state, meanings[state]) for state in MARKS if state in meanings]
    folders = [("data folder", data), ("cache", str(sources.cache))]
    return Page(
        blocks=(
            table(("task", *COUNTS, "data"), map(_entry, entries), figures=(*COUNTS, "data")),
            Paragraph(),
            table(("state", "meaning"), legend, headless=True),
            *_details(entries),
            Paragraph(),
            table(("folder", "path"), folders, headless=True),
        ),
        fields=("task", *COUNTS, "data", "detail", "licence", "terms"),
        rows=tuple(
            {"task": one.task.name, **one.counts.model_dump(), "data": one.state,
             "detail": one.detail, "licence": one.task.licence, "terms": one.task.terms}
            for one in entries
        ),
    )  # fmt: skip


def _entry(one: Entry) -> tuple[str | Cell, ...]:
    """Return the row of a task; tasks judged by answers have "answers" instead of judgements."""
    counts = ["·" if n is None else f"{n:,}" for n in one.counts.model_dump().values()]
    judged = "answers" if one.task.judge == "answers" else counts[2]
    return one.task.name, *counts[:2], judged, Cell(text=one.state, mark=MARKS[one.state])


def _details(entries: Iterable[Entry]) -> Iterator[Block]:
    """Yield advice on tasks; equal advice is given once for several tasks."""
    names: dict[str, list[str]] = {}
    for one in entries:
        if one.detail:
            names.setdefault(one.detail, []).append(one.task.name)
    for detail, tasks in names.items():
        yield Paragraph(f": {detail}", lead=f"On {', '.join(tasks)}")
