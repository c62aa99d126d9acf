"""The pages of the whole: the leaderboard, the data sets, and each data set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rankstone.leaderboards import numbers as figures
from rankstone.leaderboards.site import html, tables
from rankstone.leaderboards.site.html import escape
from rankstone.leaderboards.site.model import Board, Entry, Site
from rankstone.leaderboards.site.pairs import Pair
from rankstone.leaderboards.site.tables import Means
from rankstone.leaderboards.site.vega import COSTS, Cost, front_rows

NAMED = 8
"""Methods on a front that its caption names."""
Group = tuple[str, list[Entry]]


def index_page(site: Site, means: Means) -> str:
    entries = site.entries
    failed = [entry for entry in entries if not entry.ok]
    done = len(entries) - len(failed)
    methods = {method for method, _ in site.cells}
    said = (
        f"{figures.count(len(methods), 'method')} on "
        f"{figures.count(len(site.boards), 'data set')}: {figures.count(done, 'record')}"
        f"{f', {len(failed)} failed' if failed else ''}. Each column is the headline measure of a"
        " data set, the mean over its judged queries; – is what nobody measured."
    )
    if not entries:
        said = "No records yet. Measure: rankstone run METHOD --on TASK"
    lost = "".join(f"<li>{tables.failure(site, entry)} <span class='dim'>on "
                   f"{escape(entry.record.task.name)}</span></li>" for entry in failed)  # fmt: skip
    body = [
        f'<h1>Leaderboard</h1><p class="lead">{said}</p>',
        tables.legend(site) + tables.matrix(site, means) if entries else "",
        f"<section><h2>Failed</h2><ul>{lost}</ul></section>" if lost else "",
    ]
    return html.page(title="Leaderboard", body="\n".join(body), here="index.html")


def datasets_page(site: Site) -> str:
    """Small multiples: quality against latency on every data set."""
    cost = COSTS[0]
    panels = []
    for board in site.boards:
        groups = list(machines(board, cost))
        where, entries = max(groups, key=lambda group: len(group[1]), default=("", []))
        rows, _ = front_rows(site, entries, cost)
        drawn = (
            html.plot("small", rows, label=_label(board, cost, len(rows)), x=f"{cost.title}, ms")
            if rows
            else '<p class="note">No latencies.</p>'
        )
        said = f"{len(board.done):,} of {len(board.entries):,} records"
        more = f", drawn: {escape(where)}" if len(groups) > 1 else ""
        panels.append(
            f'<article class="panel"><h2>{html.link(board.page, board.name)}</h2>'
            f'<p class="dim">{escape(board.headline)} · {said}{more}</p>{drawn}</article>'
        )
    lead = (
        "Quality against the 95th percentile of latency on every data set, with 95% intervals. The"
        " dashed line joins the methods that no other beats in both."
    )
    body = (
        f'<h1>Data sets</h1><p class="lead">{lead}</p>{tables.legend(site)}'
        f'<div class="panels">{"".join(panels)}</div>'
    )
    return html.page(title="Data sets", body=body, here="datasets.html")


def board_page(site: Site, board: Board, pairs: Sequence[Pair]) -> str:
    task = board.entries[0].record.task
    facts = [
        figures.count(task.n_documents, "document"),
        figures.count(task.n_queries, "query", "queries"),
        f"split {task.split}",
        f"data {board.entries[0].data}" if board.entries[0].data else "",
    ]
    body = [
        '<p class="crumbs"><a href="../datasets.html">data sets</a></p>',
        f"<h1>{escape(board.name)}</h1>",
        f'<p class="chips">{"".join(f"<span>{escape(f)}</span>" for f in facts if f)}</p>',
        f"<section><h2>{escape(board.headline)} against its cost</h2>{tables.legend(site)}"
        f'<div class="plots">{"".join(_fronts(site, board))}</div></section>',
        f"<section><h2>Records</h2>{tables.board_table(site, board)}",
        f"<ul class='note'>{''.join(f'<li>{n}</li>' for n in tables.notes(site, board))}</ul>",
        "</section>",
        _pairs(site, pairs),
    ]
    return html.page(title=board.name, body="\n".join(body), place="../")


def machines(board: Board, cost: Cost) -> Iterator[Group]:
    """The records of which `cost` may be compared, and where they were measured."""
    groups: dict[str, list[Entry]] = {}
    for entry in board.done:
        here = entry.record.environment
        threads = figures.count(here.threads, "thread")
        where = " · ".join(p for p in (here.cpu or "", threads, f"machine {here.machine}") if p)
        groups.setdefault(where if cost.of_machine else "", []).append(entry)
    yield from sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))


def _fronts(site: Site, board: Board) -> Iterator[str]:
    for cost in COSTS:
        groups = list(machines(board, cost))
        for where, entries in groups:
            rows, unit = front_rows(site, entries, cost)
            if rows:
                front = [row["name"] for row in sorted(rows, key=lambda r: r["x"]) if row["front"]]
                more = f" and {len(front) - NAMED} more" if len(front) > NAMED else ""
                caption = f"On the front: {escape(', '.join(front[:NAMED]))}{more}."
                if len(groups) > 1:
                    caption += f' <span class="dim">{escape(where)}</span>'
                yield html.plot("front", rows, label=_label(board, cost, len(rows)),
                                caption=caption, x=f"{cost.title}, {unit}")  # fmt: skip


def _label(board: Board, cost: Cost, n: int) -> str:
    return (
        f"Scatter plot of {board.headline} against {cost.title} of"
        f" {figures.count(n, 'method')}; the table has the same figures"
    )


def _pairs(site: Site, pairs: Sequence[Pair]) -> str:
    lines = "".join(
        f'<li><a href="../{pair.page}">{escape(site.label(pair.of))} '
        f'<span class="dim">against</span> {escape(site.label(pair.than))}</a>'
        f" {pair.paired.difference:+.3f}</li>"
        for pair in pairs
    )
    return f"<section><h2>Pairs</h2><ul class='columns'>{lines}</ul></section>" if lines else ""
