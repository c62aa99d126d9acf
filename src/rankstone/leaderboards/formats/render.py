"""A leaderboard as text: terminal, markdown, csv, json, svg.

The same records give the same bytes: no time stamps, no order but that of the table.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, Literal, get_args

import pandas as pd

from rankstone.errors import ResultsError, did_you_mean
from rankstone.leaderboards.formats import terminal
from rankstone.leaderboards.formats.markdown import escape, line
from rankstone.leaderboards.frame import leaderboard
from rankstone.leaderboards.numbers import is_known
from rankstone.leaderboards.pages.leaderboard import Cell, View, views
from rankstone.results.record import RunRecord

Format = Literal["terminal", "markdown", "csv", "json", "svg"]
FORMATS: tuple[str, ...] = get_args(Format)


def render(
    data: pd.DataFrame | Iterable[RunRecord],
    format: str = "terminal",
    *,
    width: int | None = None,
    color: bool = False,
) -> str:
    """The leaderboard of `data` as text that ends with a newline.

    Args:
        data: Records, or the frame that `leaderboard` made of them.
        format: One of `FORMATS`.
        width: Columns of the terminal (80) or of the picture (116); of no use elsewhere.
        color: ANSI colours, for the terminal.

    Raises:
        ResultsError: There is no such format.
    """
    if format not in FORMATS:
        raise ResultsError(
            f"There is no format '{format}'.{did_you_mean(format, FORMATS)}"
            f" (--format {'|'.join(FORMATS)})"
        )
    frame = data if isinstance(data, pd.DataFrame) else leaderboard(data)
    if format == "terminal":
        return terminal.to_text(frame, width=width or 80, color=color)
    if format == "svg":
        return terminal.to_svg(frame, width=width or terminal.PICTURE_WIDTH)
    return {"markdown": markdown, "csv": to_csv, "json": to_json}[format](frame)


def to_csv(frame: pd.DataFrame) -> str:
    """Every column at full precision; unknown is empty."""
    return frame.to_csv(index=False, lineterminator="\n")


def to_json(frame: pd.DataFrame) -> str:
    """A list of objects, one per row, at full precision; unknown is null."""
    rows = [{name: _plain(row[name]) for name in frame.columns} for _, row in frame.iterrows()]
    return json.dumps(rows, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if not is_known(value):
        return None
    return value.item() if hasattr(value, "item") else value


def markdown(frame: pd.DataFrame) -> str:
    """Pipe tables as GitHub renders them, the best in bold, notes below each task."""
    lines: list[str] = []
    notes: list[str] = []
    for view in views(frame):
        if view.kind == "quality":
            lines += [*_notes(notes), f"### {escape(view.task)}", ""]
            notes = []
        lines += [f"{terminal.KINDS[view.kind].capitalize()} · {escape(view.subtitle)}", ""]
        lines += [*_pipes(view), ""]
        notes += [note for note in view.notes if note not in notes]
    return "\n".join([*lines, *_notes(notes)]).rstrip("\n") + "\n"


def _notes(notes: list[str]) -> Iterator[str]:
    if notes:
        yield from (f"* {escape(note)}" for note in notes)
        yield ""


def _pipes(view: View) -> Iterator[str]:
    heads = [" ".join(column.header) for column in view.columns]
    yield line(escape(head) for head in heads)
    yield line(":---" if place == 0 else "---:" for place in range(len(heads)))
    for row in view.rows:
        yield line(_bold(cell) for cell in row)


def _bold(cell: Cell) -> str:
    text = escape(cell.text)
    return f"**{text}**" if cell.mark == "best" else text
