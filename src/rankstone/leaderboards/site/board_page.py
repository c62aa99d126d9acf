"""Pages of many methods: means over tasks, all results, the data sets, and each data set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rankstone.leaderboards.costs import BY_NAME
from rankstone.leaderboards.curves.curves import of_grids, of_load
from rankstone.leaderboards.numbers import count
from rankstone.leaderboards.site import tables
from rankstone.leaderboards.site.environment import render
from rankstone.leaderboards.site.fronts import COSTS, front_rows
from rankstone.leaderboards.site.model import Board, Site
from rankstone.leaderboards.site.pairs import Pair
from rankstone.leaderboards.site.vega import Plot, plotted
from rankstone.leaderboards.site.views import Ranked, View, Views, groups

NAMED = 8
"""Largest number of Pareto-optimal methods named in a caption."""
LACKING = 12
"""Largest number of methods without a mean that a page lists."""


def index_page(site: Site, views: Views) -> str:
    if views.first is None:
        return render("empty.html", "index.html")
    return decision_page(site, views, views.first, "index.html")


def decision_page(site: Site, views: Views, view: View, page: str) -> str:
    """Return a page with quality against a selectable cost, and a table."""
    plots = list(fronts(site, view, "home"))
    failed = [entry for entry in site.entries if not entry.ok]
    have = {row.entry.cell for row in view.rows}
    return render(
        "decision.html",
        page,
        site=site,
        views=views,
        view=view,
        plots=plots,
        costs=list(dict.fromkeys(plot.cost for plot in plots)),
        titles=COSTS,
        table=tables.decision_table(site, view),
        lacking=[next(iter(row.values())) for cell, row in site.cells.items() if cell not in have],
        most=LACKING,
        sweeps=list(_sweeps(site, view)),
        notes=list(_notes(view)),
        failed=failed if page == "index.html" else [],
    )


def _sweeps(site: Site, view: View) -> Iterator[tuple[int, str, str]]:
    """Yield the colour, the methods and the parameter of every curve."""
    curves: dict[str, list[tuple[float, str]]] = {}
    for row in view.rows:
        if step := site.sweeps.get(row.entry.method):
            curves.setdefault(step.curve, []).append((step.value, row.entry.method))
    for steps in curves.values():
        if len(steps) > 1:
            values, names = zip(*sorted(steps), strict=True)
            shown = ", ".join(f"{value:g}" for value in values)
            yield (
                site.colour(names[0]),
                ", ".join(names),
                f"{site.sweeps[names[0]].parameter} = {shown}",
            )


def _notes(view: View) -> Iterator[str]:
    """Yield remarks that are needed to interpret the table."""
    yield from _untested(view)
    if view.is_mean:
        yield (
            "The interval of a mean over tasks adds the variances of the tasks' intervals. Costs:"
            " latency and bytes per document are means over the tasks, memory is the largest, index"
            " and price are sums."
        )
    flags = (
        flag
        for cost in map(BY_NAME.__getitem__, COSTS)
        for row in view.rows
        for entry in row.entries.values()
        if (flag := cost.flag(entry.record))
    )
    yield from dict.fromkeys(f"{flag.note}." for flag in flags)


def _untested(view: View) -> Iterator[str]:
    if view.close is None and len(view.rows) > 1:
        yield (
            "The best record has no values per query beside it, so differences cannot be tested:"
            " only the best is marked."
        )


def matrix_page(site: Site, views: Views) -> str:
    """Return the page with the results of every method on every data set."""
    table = tables.matrix(site, views)
    return render("matrix.html", "matrix.html", site=site, table=table)


def datasets_page(site: Site, views: Views) -> str:
    """Return the page with small plots of quality against latency for every data set."""
    panels = [_panel(site, board, views.boards[board.name]) for board in site.boards]
    return render("datasets.html", "datasets.html", site=site, panels=panels)


def _panel(site: Site, board: Board, view: View) -> dict[str, object]:
    cost = BY_NAME["p95 latency"]
    found = groups(view, cost)
    rows, unit = front_rows(site, view, found[0] if found else (), cost, "small")
    words = {"x": f"{COSTS[cost.name]}, {unit}", "y": view.measure}
    label = _label(view, COSTS[cost.name], len(rows))
    return {
        "board": board,
        "environment": environment(found[0]) if len(found) > 1 else "",
        "plot": Plot(kind="small", rows=rows, label=label, words=words) if rows else None,
    }


def board_page(site: Site, board: Board, view: View, pairs: Sequence[Pair], queries: str) -> str:
    task, data = board.entries[0].record.task, board.entries[0].data
    return render(
        "board.html",
        board.page,
        site=site,
        board=board,
        chips=[
            count(task.n_documents, "document"),
            count(task.n_queries, "query", "queries"),
            f"split {task.split}",
            f"data {data}" if data else "",
        ],
        plots=list(fronts(site, view, "front")),
        grids=plotted(of_grids((entry.record for entry in board.done), site.methods)),
        loads=plotted(of_load(entry.record for entry in board.done)),
        table=tables.board_table(site, board, view),
        notes=[*tables.notes(board), *_untested(view)],
        method_notes=tables.method_notes(board),
        failed=[entry for entry in (*board.entries, *board.stale) if not entry.ok],
        pairs=pairs,
        queries=queries,
    )


def defined_pages(site: Site) -> Iterator[tuple[str, str]]:
    """Yield path and text of the page of each leaderboard defined in the workspace."""
    pages = {board.task: board.page for board in site.boards}
    for name, page in site.defined.items():
        parts = [(table, pages[table.title]) for table in page.tables]
        path = f"boards/{name}.html"
        yield path, render("defined.html", path, title=page.title, parts=parts)


def environment(rows: Sequence[Ranked]) -> str:
    """Return the hardware on which the methods of a group were measured."""
    here = rows[0].entry.record.environment
    parts = (here.cpu or "", count(here.threads, "thread"), f"machine {here.machine}")
    return " · ".join(part for part in parts if part)


def fronts(site: Site, view: View, kind: str) -> Iterator[Plot]:
    """Yield the plots of a view, cost by cost, the largest group of comparable methods first."""
    # On one task, bytes per document give the same plot as the index.
    shown = [name for name in COSTS if view.is_mean or name != "bytes/doc"]
    for cost in map(BY_NAME.__getitem__, shown):
        found = groups(view, cost)
        for ranked in found:
            rows, unit = front_rows(site, view, ranked, cost, kind)
            if rows:
                best = sorted((row for row in rows if row["front"]), key=lambda row: row["x"])
                names = [row["name"] for row in best]
                more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
                title = COSTS[cost.name]
                yield Plot(
                    kind=kind,
                    rows=rows,
                    label=_label(view, title, len(rows)),
                    words={"x": f"{title}, {unit}" if unit else title, "y": view.measure},
                    caption=f"Pareto-optimal: {', '.join(names[:NAMED])}{more}.",
                    environment=environment(ranked) if len(found) > 1 else "",
                    cost=cost.name,
                )


def _label(view: View, cost: str, n: int) -> str:
    return (
        f"Scatter plot of {view.measure} against {cost} of {count(n, 'method')};"
        " the table has the same values"
    )
