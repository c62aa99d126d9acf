"""Engines at equal recall: of each grid, the cheapest method that finds enough of exact search."""

from __future__ import annotations

import math
from collections.abc import Mapping

from rankstone.leaderboards.costs import BY_NAME
from rankstone.leaderboards.labels import base_name
from rankstone.results.store import Cell, Stored

RECALL, SEARCH = BY_NAME["recall of exact search"], BY_NAME["median search of a query"]


def at_equal_recall(
    cells: Mapping[Cell, Stored], least: float
) -> tuple[dict[Cell, Stored], list[str]]:
    """Return one method of each grid and all methods outside grids, with notes on the selection.

    Among the methods of a grid whose recall of exact search is at least `least` on every task, the
    one with the lowest median search latency is kept; if there are none, the one with the highest
    recall. Methods that lack tasks of others in the grid are left out.
    """
    every: dict[str, dict[str, list[Stored]]] = {}
    for (method, _), one in cells.items():
        every.setdefault(base_name(method), {}).setdefault(method, []).append(one)
    grids = {name: _complete(grid) for name, grid in every.items()}
    chosen = {_cheapest(grid, least) for grid in grids.values()}
    short = [
        f"{name}: no setting reaches a recall of {least:g}; that of highest recall is shown"
        for name, grid in grids.items()
        if _grid(grid) and max(map(_recall, grid.values())) < least
    ]
    rule = (
        f"of each engine's settings, the one with the lowest median latency of search among those"
        f" that find at least {least:.0%} of the 10 best of exact search"
    )
    return {cell: one for cell, one in cells.items() if cell[0] in chosen}, [rule, *short]


def _complete(grid: Mapping[str, list[Stored]]) -> dict[str, list[Stored]]:
    most = max(map(len, grid.values()))
    return {name: cells for name, cells in grid.items() if len(cells) == most}


def _cheapest(grid: Mapping[str, list[Stored]], least: float) -> str:
    enough = {name: cells for name, cells in grid.items() if _recall(cells) >= least}
    if enough:
        return min(enough, key=lambda name: (_search(enough[name]), name))
    return max(grid, key=lambda name: (_recall(grid[name]), name))


def _grid(grid: Mapping[str, list[Stored]]) -> bool:
    return any(RECALL.of(record) is not None for cells in grid.values() for record, _ in cells)


def _recall(cells: list[Stored]) -> float:
    """Return the lowest recall over the tasks; 1 for methods that do not approximate."""
    found = (RECALL.of(record) for record, _ in cells)
    return min(1.0 if value is None else value for value in found)


def _search(cells: list[Stored]) -> float:
    found = (SEARCH.of(record) for record, _ in cells)
    return sum(math.inf if value is None else value for value in found)
