"""The pages of the whole: the leaderboard, the data sets, and each data set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rankstone.leaderboards.costs import BY_NAME, Cost, comparable_group
from rankstone.leaderboards.numbers import count
from rankstone.leaderboards.site import tables
from rankstone.leaderboards.site.environment import render
from rankstone.leaderboards.site.model import Board, Entry, Site
from rankstone.leaderboards.site.pairs import Pair
from rankstone.leaderboards.site.tables import Means
from rankstone.leaderboards.site.vega import COSTS, Plot, front_rows

NAMED = 8
"""Pareto-optimal methods that a caption names."""
Group = tuple[str, list[Entry]]


def index_page(site: Site, means: Means) -> str:
    failed = [entry for entry in site.entries if not entry.ok]
    return render(
        "index.html",
        "index.html",
        site=site,
        methods=len({method for method, _ in site.cells}),
        done=len(site.entries) - len(failed),
        failed=failed,
        table=tables.matrix(site, means),
    )


def datasets_page(site: Site) -> str:
    """Small multiples: quality against latency on every data set."""
    panels = [_panel(site, board, BY_NAME["p95 latency"]) for board in site.boards]
    return render("datasets.html", "datasets.html", site=site, panels=panels)


def _panel(site: Site, board: Board, cost: Cost) -> dict[str, object]:
    groups = list(machines(board, cost))
    environment, entries = groups[0] if groups else ("", [])
    rows, _ = front_rows(site, entries, cost)
    words = {"x": f"{COSTS[cost.name]}, {cost.unit}"}
    plot = Plot(kind="small", rows=rows, label=_label(board, cost, len(rows)), words=words)
    return {
        "board": board,
        "environment": environment if len(groups) > 1 else "",
        "plot": plot if rows else None,
    }


def board_page(site: Site, board: Board, pairs: Sequence[Pair], queries: str = "") -> str:
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
        plots=list(_fronts(site, board)),
        table=tables.board_table(site, board),
        notes=list(tables.notes(site, board)),
        failed=[entry for entry in (*board.entries, *board.stale) if not entry.ok],
        pairs=pairs,
        queries=queries,
    )


def machines(board: Board, cost: Cost) -> Iterator[Group]:
    """The records whose `cost` may be compared, the largest group first, and their environment."""
    groups: dict[object, list[Entry]] = {}
    for entry in board.done:
        groups.setdefault(comparable_group(cost, entry.record), []).append(entry)
    named = [(_environment(entries[0]), entries) for entries in groups.values()]
    yield from sorted(named, key=lambda group: (-len(group[1]), group[0]))


def _environment(entry: Entry) -> str:
    here = entry.record.environment
    parts = (here.cpu or "", count(here.threads, "thread"), f"machine {here.machine}")
    return " · ".join(part for part in parts if part)


def _fronts(site: Site, board: Board) -> Iterator[Plot]:
    for cost in map(BY_NAME.__getitem__, COSTS):
        groups = list(machines(board, cost))
        for environment, entries in groups:
            rows, unit = front_rows(site, entries, cost)
            if rows:
                front = [row["name"] for row in sorted(rows, key=lambda r: r["x"]) if row["front"]]
                more = f" and {len(front) - NAMED} more" if len(front) > NAMED else ""
                yield Plot(
                    kind="front",
                    rows=rows,
                    label=_label(board, cost, len(rows)),
                    words={"x": f"{COSTS[cost.name]}, {unit}"},
                    caption=f"Pareto-optimal: {', '.join(front[:NAMED])}{more}.",
                    environment=environment if len(groups) > 1 else "",
                )


def _label(board: Board, cost: Cost, n: int) -> str:
    return (
        f"Scatter plot of {board.headline} against {COSTS[cost.name]} of {count(n, 'method')};"
        " the table has the same values"
    )
