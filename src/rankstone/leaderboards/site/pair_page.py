"""Page of two methods on one data set, and the list of all such pages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from rankstone.leaderboards import compare, costs
from rankstone.leaderboards.compare import Moved
from rankstone.leaderboards.numbers import bytes_text, flagged, quality, significant
from rankstone.leaderboards.site.environment import p_value, render, signed
from rankstone.leaderboards.site.model import Entry, Site, Texts
from rankstone.leaderboards.site.pairs import DEPTH, Dot, Pair, Rankings
from rankstone.leaderboards.site.queries import Queries, beginning
from rankstone.leaderboards.site.vega import Plot

LISTED = 3
"""Largest number of queries listed for a point of the scatter plot."""
EXCERPT = 220
QUERY = 600
"""Number of bytes shown of a document or query."""
NO_TEXTS = Texts({}, {}, {})


class Hit(NamedTuple):
    """One ranked document; unknown values are None, `other` is 0 if the other ranking lacks it."""

    id: str
    label: int | None
    other: int | None
    text: str


class Ranked(NamedTuple):
    """Ranking of one method; None if its run is not stored beside the record."""

    heading: str
    hits: list[Hit] | None


class Query(NamedTuple):
    """Query with both rankings."""

    id: str
    text: str
    difference: float
    rankings: list[Ranked]


def pair_page(
    site: Site, pair: Pair, rankings: Rankings, texts: Texts | str, asked: Queries | None
) -> str:
    of, than = site.label(pair.of), site.label(pair.than)
    known = NO_TEXTS if isinstance(texts, str) else texts
    return render(
        "pair.html",
        pair.page,
        pair=pair,
        of=of,
        than=than,
        main=list(_tiles(pair)),
        sides=[
            ("win", pair.paired.wins, f"{of} is better"),
            ("tie", pair.paired.ties, "equal"),
            ("loss", pair.paired.losses, f"{than} is better"),
        ],
        differences=list(compare.differences(pair.of.record, pair.than.record)),
        scatter=_scatter(pair, of, than),
        costs=list(_costs(pair)),
        no_texts=(texts or "unknown") if isinstance(texts, str) else "",
        queries=[_query(pair, moved, rankings, known) for moved in pair.moved],
        depth=DEPTH,
        every=asked.link(pair.of, pair.than) if asked else "",
    )


def pairs_page(site: Site, pairs: Sequence[Pair], faults: Sequence[str], best: int) -> str:
    """Return the list of all pairs with a page, and the rule that selects them."""
    return render("pairs.html", "pairs.html", site=site, pairs=pairs, faults=faults, best=best)


def _tiles(pair: Pair) -> Iterator[tuple[str, str, str]]:
    paired, headline = pair.paired, pair.board.headline
    yield headline, f"{quality(pair.of.headline)} / {quality(pair.than.headline)}", "first / second"
    interval = f"95%: {signed(paired.low)} to {signed(paired.high)}"
    yield "difference", signed(paired.difference), interval
    yield "p, sign-flip test", p_value(pair.paired.p), "of this pair alone"
    yield "adjusted p", p_value(pair.adjusted), "Holm, over the pairs of this data set"
    yield "effect size", significant(paired.effect), "mean ÷ deviation of differences"


def _scatter(pair: Pair, of: str, than: str) -> Plot:
    values = [value for dot in pair.dots for value in (dot.of, dot.than)]
    ends = min([0.0, *values]), max([1.0, *values])
    headline, paired = pair.board.headline, pair.paired
    return Plot(
        kind="scatter",
        rows={
            "rows": [_point(dot) for dot in pair.dots],
            "diagonal": [{"x": end, "y": end} for end in ends],
        },
        label=f"Scatter plot of {headline} of {paired.n:,} queries: {paired.wins:,} above the"
        f" diagonal, {paired.losses:,} below",
        words={"x": than, "y": of},
        caption=f"{headline} of every query: {of} on the vertical axis, {than} on the horizontal"
        " one. Above the diagonal the first is better. Queries with equal values share one point,"
        " whose area is their number.",
    )


def _point(dot: Dot) -> dict[str, object]:
    return {
        "x": dot.than,
        "y": dot.of,
        "n": len(dot.queries),
        "side": "tie" if dot.of == dot.than else "of" if dot.of > dot.than else "than",
        "ids": [query[:80] for query in dot.queries[:LISTED]],
    }


def _costs(pair: Pair) -> Iterator[list[str]]:
    for figure in costs.figures(pair.of.record, pair.than.record):
        ratio = f"{significant(figure.ratio)} ×" if figure.ratio is not None else ""
        name, _, unit = figure.name.partition(", ")
        shown = bytes_text if unit == "bytes" else flagged
        title = name if unit == "bytes" else figure.name
        ours, theirs = shown(figure.of, figure.of_mark), shown(figure.than, figure.than_mark)
        yield [title, ours, theirs, ratio]


def _query(pair: Pair, moved: Moved, rankings: Rankings, texts: Texts) -> Query:
    ours, theirs = (rankings.of(entry, moved.query) for entry in (pair.of, pair.than))
    labels = texts.labels.get(moved.query, {})
    return Query(
        id=moved.query,
        text=beginning(texts.queries.get(moved.query, ""), QUERY),
        difference=moved.of - moved.than,
        rankings=[
            _ranked(pair.of, moved.of, ours, theirs, labels, texts.documents),
            _ranked(pair.than, moved.than, theirs, ours, labels, texts.documents),
        ],
    )


def _ranked(
    entry: Entry,
    value: float,
    ranking: Sequence[str] | None,
    other: Sequence[str] | None,
    labels: Mapping[str, int],
    documents: Mapping[str, str],
) -> Ranked:
    ranks = None if other is None else {id: rank for rank, id in enumerate(other, 1)}
    hits = None if ranking is None else [
        Hit(
            id=id,
            label=labels.get(id),
            other=None if ranks is None else ranks.get(id, 0),
            text=beginning(documents.get(id, ""), EXCERPT),
        )
        for id in ranking
    ]  # fmt: skip
    return Ranked(f"{entry.method}: {quality(value)}", hits)
