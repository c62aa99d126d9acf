"""The page of a defined board."""

from __future__ import annotations

from rankstone.leaderboards.boards import Board
from rankstone.leaderboards.document import Cell, Column, Page, Table
from rankstone.leaderboards.trained import labelled


def page(board: Board) -> Page:
    """The board's table, its notes below it."""
    heads = ("method", *board.heads)
    table = Table(
        title=board.title,
        columns=tuple(Column(heading=(h,), left=n == 0, wrap=True) for n, h in enumerate(heads)),
        rows=tuple((Cell(text=_labelled(board, method)), *row) for method, row in board.rows),
        notes=board.notes,
    )
    rows = [_values(board, method, row) for method, row in board.rows]
    return Page(
        blocks=(table,),
        fields=tuple(dict.fromkeys([*heads, *(name for row in rows for name in row)])),
        rows=tuple(rows),
        body=_body(board),
    )


def _values(board: Board, method: str, row: tuple[Cell, ...]) -> dict[str, object]:
    """The figures, and the reasons to read some with care in columns of their own."""
    cells = dict(zip(board.heads, row, strict=True))
    notes = {f"{head} note": cell.note for head, cell in cells.items() if cell.note}
    trained = {"trained": method in board.trained} if board.trained else {}
    label = {"label": board.names.get(method)} if board.names else {}
    return {
        "method": method,
        **label,
        **trained,
        **{head: cell.value for head, cell in cells.items()},
        **notes,
    }


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
                **dict(zip(board.heads, map(_cell, row), strict=True)),
            }
            for method, row in board.rows
        ],
    }


def _cell(cell: Cell) -> dict[str, object]:
    return {"value": cell.value, "above": cell.letters, "interval": cell.interval,
            "mark": cell.mark, "note": cell.note}  # fmt: skip
