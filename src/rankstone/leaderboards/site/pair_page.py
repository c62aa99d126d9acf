"""The page of two methods on one data set, and the list of all such pages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rankstone.leaderboards import compare
from rankstone.leaderboards.numbers import quality, significant
from rankstone.leaderboards.pages.record import bytes_text
from rankstone.leaderboards.site import html
from rankstone.leaderboards.site.html import escape
from rankstone.leaderboards.site.model import Entry, Site, Texts
from rankstone.leaderboards.site.pairs import DEPTH, Moved, Pair, Rankings

LISTED = 3
"""Queries that a point of the scatter plot names."""
EXCERPT = 220
QUERY = 600
"""Characters of a document and of a query that are shown."""


def pair_page(site: Site, pair: Pair, rankings: Rankings, texts: Texts | str) -> str:
    of, than = site.label(pair.of), site.label(pair.than)
    task = pair.board.name
    body = [
        f'<p class="crumbs"><a href="../{pair.board.page}">{escape(task)}</a> ·'
        f' <a href="../pairs.html">pairs</a></p>',
        f'<h1>{html.link(f"../{pair.of.page}", of)} <span class="dim">against</span>'
        f" {html.link(f'../{pair.than.page}', than)}</h1>",
        html.tiles(_tiles(pair)),
        _sides(pair, of, than),
        _notes(pair),
        f'<div class="beside"><section><h2>Query by query</h2>{_scatter(pair, of, than)}</section>'
        f"{_costs(pair, of, than)}</div>",
        f"<section><h2>The queries that moved most</h2>{_moved(pair, rankings, texts)}</section>",
    ]
    return html.page(title=f"{of} against {than} on {task}", body="\n".join(body), place="../")


def pairs_page(site: Site, pairs: Sequence[Pair], faults: Sequence[str], best: int) -> str:
    """The list of all pairs that have a page, and the rule by which they have one."""
    rows = [
        [
            f'<a href="{pair.page}">{escape(site.label(pair.of))} <span class="dim">against</span>'
            f" {escape(site.label(pair.than))}</a>",
            html.link(pair.board.page, pair.board.name),
            f"{pair.paired.difference:+.3f}",
            f"{pair.paired.low:+.3f} to {pair.paired.high:+.3f}",
            f"{pair.paired.wins:,} / {pair.paired.ties:,} / {pair.paired.losses:,}",
            p_text(pair.p),
        ]
        for pair in pairs
    ]
    heads = ["pair", "data set", "difference", "95% interval", "wins / ties / losses", "p (Holm)"]
    rule = (
        f"On each data set, every two of the {best} best methods by its headline measure have a"
        " page, and every method that is made of others has one against each of its members:"
        " where values per query are beside the records. Other pairs:"
        " <code>rankstone compare A B</code>, or <code>rankstone site --pairs N</code>."
    )
    none = '<p class="note">No two records have values per query beside them.</p>'
    table = html.simple_table(heads, rows, caption="Pairs of methods") if rows else none
    lost = "".join(f"<li>{escape(fault)}</li>" for fault in faults)
    failed = f"<h2>Not compared</h2><ul>{lost}</ul>" if lost else ""
    body = f'<h1>Pairs</h1><p class="lead">{rule}</p>{table}{failed}'
    return html.page(title="Pairs", body=body, here="pairs.html")


def p_text(p: float) -> str:
    return "< .001" if p < 0.001 else quality(p)


def _tiles(pair: Pair) -> Iterable[tuple[str, str, str]]:
    found, headline = pair.paired, pair.board.headline
    yield headline, f"{quality(pair.of.headline)} / {quality(pair.than.headline)}", "first / second"
    interval = f"95%: {found.low:+.3f} to {found.high:+.3f}"
    yield "difference", f"{found.difference:+.3f}", interval
    yield "p, paired t-test", p_text(pair.p), "Holm, over the pairs of this data set"
    yield "effect size", significant(found.effect), "mean ÷ deviation of differences"


def _sides(pair: Pair, of: str, than: str) -> str:
    """Wins, ties and losses as one bar."""
    found = pair.paired
    parts = (
        ("win", found.wins, f"{of} is better"),
        ("tie", found.ties, "equal"),
        ("loss", found.losses, f"{than} is better"),
    )
    bar = "".join(f'<span class="{side}" style="flex:{n}"></span>' for side, n, _ in parts)
    words = "".join(
        f'<li><span class="dot {side}"></span>{escape(text)}: <b>{n:,}</b></li>'
        for side, n, text in parts
    )
    return (
        f'<div class="bar" role="img" aria-label="Wins, ties and losses, as listed below">{bar}'
        f'</div><ul class="legend">{words}</ul>'
    )


def _notes(pair: Pair) -> str:
    said = list(compare.differences(pair.of.record, pair.than.record))
    lines = "".join(f"<li>{escape(line)}</li>" for line in said)
    return f'<div class="note"><p>Beside the method:</p><ul>{lines}</ul></div>' if lines else ""


def _scatter(pair: Pair, of: str, than: str) -> str:
    rows = [
        {
            "x": dot.than,
            "y": dot.of,
            "n": len(dot.queries),
            "side": "tie" if dot.of == dot.than else "of" if dot.of > dot.than else "than",
            "ids": [query[:80] for query in dot.queries[:LISTED]],
        }
        for dot in pair.dots
    ]
    ends = [min([0.0, *(min(d.of, d.than) for d in pair.dots)]),
            max([1.0, *(max(d.of, d.than) for d in pair.dots)])]  # fmt: skip
    headline = pair.board.headline
    caption = (
        f"{escape(headline)} of every query: {escape(of)} upwards, {escape(than)} to the right."
        " Above the diagonal the first is better; queries of equal values are one point, its area"
        " their number."
    )
    label = (
        f"Scatter plot of {headline} of {pair.paired.n:,} queries: {pair.paired.wins:,} above the"
        f" diagonal, {pair.paired.losses:,} below"
    )
    shown = {"rows": rows, "diagonal": [{"x": end, "y": end} for end in ends]}
    return html.plot("scatter", shown, label=label, caption=caption, x=than, y=of)


def _costs(pair: Pair, of: str, than: str) -> str:
    from rankstone.leaderboards.site.pairs import costs

    rows = []
    for figure in costs(pair):
        ratio = f"{significant(figure.ratio)} ×" if figure.ratio is not None else ""
        name, _, unit = figure.name.partition(", ")
        shown = bytes_text if unit == "bytes" else significant
        title = name if unit == "bytes" else figure.name
        rows.append([escape(title), shown(figure.of), shown(figure.than), ratio])
    if not rows:
        return ""
    heads = ["", of, than, "first ÷ second"]
    table = html.simple_table(heads, rows, caption="What the two cost")
    return f"<section><h2>Costs</h2>{table}</section>"


def _moved(pair: Pair, rankings: Rankings, texts: Texts | str) -> str:
    if not pair.moved:
        return '<p class="note">No query differs.</p>'
    said = ""
    if isinstance(texts, str):
        said = (
            '<p class="note">Ids only: the data set is not within reach'
            f" ({escape(texts or 'unknown')}). Name its folder: <code>rankstone site --data DIR"
            "</code></p>"
        )
    known = None if isinstance(texts, str) else texts
    shown = "".join(_query(pair, moved, rankings, known, n == 0)
                    for n, moved in enumerate(pair.moved))  # fmt: skip
    return said + shown


def _query(pair: Pair, moved: Moved, rankings: Rankings, texts: Texts | None, opened: bool) -> str:
    text = texts.queries.get(moved.query) if texts else None
    side = "win" if moved.of > moved.than else "loss"
    title = escape(_cut(text, QUERY)) if text else f"<code>{escape(moved.query)}</code>"
    id = f'<span class="dim"> <code>{escape(moved.query)}</code></span>' if text else ""
    lists = [rankings.of(entry, moved.query) for entry in (pair.of, pair.than)]
    labels = texts.labels.get(moved.query, {}) if texts else None
    columns = "".join(
        _ranking(heading, ranking, other, labels, texts.documents if texts else {})
        for heading, ranking, other in (
            (f"{pair.of.method}: {quality(moved.of)}", lists[0], lists[1]),
            (f"{pair.than.method}: {quality(moved.than)}", lists[1], lists[0]),
        )
    )
    return (
        f'<details class="query"{" open" if opened else ""}><summary>'
        f'<span class="delta {side}">{moved.of - moved.than:+.3f}</span>'
        f'<span class="text">{title}{id}</span></summary>'
        f'<div class="both">{columns}</div></details>'
    )


def _ranking(
    heading: str,
    ranking: Sequence[str] | None,
    other: Sequence[str] | None,
    labels: Mapping[str, int] | None,
    documents: Mapping[str, str],
) -> str:
    if ranking is None:
        body = '<p class="note">The run is not beside the record.</p>'
    elif not ranking:
        body = '<p class="note">No results.</p>'
    else:
        lines = "".join(_document(id, other, labels, documents.get(id)) for id in ranking)
        body = f"<ol>{lines}</ol>"
    return f"<div><h3>{escape(heading)}</h3>{body}</div>"


def _document(
    id: str, other: Sequence[str] | None, labels: Mapping[str, int] | None, text: str | None
) -> str:
    """One rank: its label, its place in the other ranking, and how it begins."""
    label = labels.get(id) if labels else None
    mark = "" if label is None else f'<span class="label {"yes" if label > 0 else "no"}">' \
        f"{'relevant' if label > 0 else 'not relevant'}, {label}</span>"  # fmt: skip
    there = ""
    if other is not None:
        place = other.index(id) + 1 if id in other else 0
        words = f"{place}. in the other" if place else f"not in the other’s {DEPTH} best"
        there = f'<span class="dim">{words}</span>'
    begins = f"<p>{escape(_cut(text, EXCERPT))}</p>" if text else ""
    return f"<li><code>{escape(id)}</code> {mark} {there}{begins}</li>"


def _cut(text: str, length: int) -> str:
    joined = " ".join(text[: 4 * length].split())
    return joined if len(joined) <= length else joined[:length].rstrip() + "…"


def of_entry(pairs: Iterable[Pair], entry: Entry) -> list[Pair]:
    """The pairs that a record is in."""
    return [pair for pair in pairs if entry in (pair.of, pair.than)]
