"""Page of a leaderboard defined in the workspace."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rankstone.leaderboards.board_spec import TableSpec
from rankstone.leaderboards.boards import Board
from rankstone.leaderboards.boards import board as board_of
from rankstone.leaderboards.curves.curves import of_grids, of_load
from rankstone.leaderboards.curves.drawn import pictures
from rankstone.leaderboards.document import Block, Cell, Column, Page, Picture, Table
from rankstone.leaderboards.labels import with_grids
from rankstone.leaderboards.trained import labelled
from rankstone.results.store import Stored
from rankstone.specs import MethodSpec


def page(board: Board) -> Page:
    """Return the leaderboard's table with its notes."""
    heads = ("method", *board.heads)
    table = Table(
        title=board.title,
        columns=tuple(Column(heading=(h,), left=n == 0, wrap=True) for n, h in enumerate(heads)),
        rows=tuple((Cell(text=_labelled(board, method)), *row) for method, row in board.rows),
        notes=board.notes,
    )
    rows = [_values(board, method, row) for method, row in board.rows]
    known = [name for row in rows for name in row]
    ends = ("", " low", " high", " note")
    fields = [f"{field}{end}" for field in _fields(board) for end in ends]
    first = ("method", "label", "trained")
    return Page(
        blocks=(table,),
        fields=tuple(
            name for name in (*first, *fields) if name in {"method", *fields[::4], *known}
        ),
        rows=tuple(rows),
        body=_body(board),
    )


def apart(
    spec: TableSpec,
    stored: Sequence[Stored],
    tasks: Sequence[str],
    methods: Mapping[str, MethodSpec],
    *,
    curves: bool = True,
) -> Page:
    """Return a table for each task, and with `curves` plots of its grids and loads."""
    blocks, rows, bodies, fields = (
        list[Block](),
        list[Mapping[str, object]](),
        [],
        dict[str, None](),
    )
    for task in tasks:
        one = spec.model_copy(update={"tasks": (task,), "title": task})
        made = page(board_of(one, stored, tasks=[task], methods=methods))
        blocks += made.blocks
        blocks += _curves(spec.name, task, stored, methods) if curves else ()
        rows += [{"task": task, **row} for row in made.rows]
        bodies.append(made.body)
        fields |= dict.fromkeys(made.fields)
    return Page(
        title=spec.title,
        blocks=tuple(blocks),
        fields=("task", *fields),
        rows=tuple(rows),
        body={"boards": bodies},
    )


def _curves(
    name: str, task: str, stored: Sequence[Stored], methods: Mapping[str, MethodSpec]
) -> Iterator[Picture]:
    every = with_grids((record for record, _ in stored), methods)
    records = [r for r in every if r.task.name == task and r.status == "ok"]
    file = f"{name}-{task.replace('/', '-').replace('@', '-')}"
    caption = f"{task}: settings of each engine against the recall of exact search"
    yield from pictures(of_grids(records, methods), f"{file}-recall", caption)
    caption = f"{task}: latency against rate, and throughput against clients"
    yield from pictures(of_load(records), f"{file}-load", caption)


def _fields(board: Board) -> tuple[str, ...]:
    return board.fields or board.heads


def _values(board: Board, method: str, row: tuple[Cell, ...]) -> dict[str, object]:
    """Return the figures, with their intervals and caveats in further columns."""
    cells = dict(zip(_fields(board), row, strict=True))
    further = {
        f"{field} {name}": value
        for field, cell in cells.items()
        for name, value in (("low", cell.low), ("high", cell.high), ("note", cell.note or None))
        if value is not None
    }
    trained = {"trained": method in board.trained} if board.trained else {}
    label = {"label": board.names.get(method)} if board.names else {}
    figures = {field: cell.value for field, cell in cells.items()}
    return {"method": method, **label, **trained, **figures, **further}


def _labelled(board: Board, method: str) -> str:
    letter = board.letters.get(method)
    name = labelled(board.names.get(method, method), method in board.trained)
    return f"{name} ({letter})" if letter else name


def _body(board: Board) -> dict[str, object]:
    return {
        "title": board.title,
        "letters": dict(board.letters),
        "notes": board.notes,
        "rows": [
            {
                "method": method,
                **({"label": board.names.get(method)} if board.names else {}),
                "trained": method in board.trained,
                **dict(zip(_fields(board), map(_cell, row), strict=True)),
            }
            for method, row in board.rows
        ],
    }


def _cell(cell: Cell) -> dict[str, object]:
    return {"value": cell.value, "low": cell.low, "high": cell.high, "above": cell.letters,
            "interval": cell.interval, "mark": cell.mark, "note": cell.note}  # fmt: skip
