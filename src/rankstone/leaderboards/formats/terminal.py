"""Leaderboards for the terminal, and a picture of one."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence

import pandas as pd
from rich import box
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from rankstone.leaderboards.costs import REUSED
from rankstone.leaderboards.pages.leaderboard import Cell, Column, View, views

STYLES = {"": "", "best": "bold green", "second": "", "failed": "bold red"}
KINDS = {"quality": "quality", "efficiency": "speed and memory"}
PICTURE_WIDTH = 116
_GAP = 2
_MARGIN = 1
_METHOD_WIDTH = 36
_THEME = TerminalTheme(
    (16, 20, 27),
    (214, 220, 228),
    [(72, 79, 88), (255, 123, 114), (108, 211, 132), (227, 179, 65),
     (121, 192, 255), (210, 168, 255), (86, 212, 221), (177, 186, 196)],
    [(110, 118, 129), (255, 161, 152), (126, 231, 150), (227, 179, 65),
     (165, 214, 255), (226, 197, 255), (179, 240, 255), (255, 255, 255)],
)  # fmt: skip


def tables(frame: pd.DataFrame, width: int) -> RenderableType:
    """The leaderboard as one rich renderable, at most `width` columns wide.

    Columns that do not fit are left out, the least important first, and named below the table.
    """
    parts: list[RenderableType] = []
    said: set[str] = set()
    for view in views(frame, short_names=True):
        kept, dropped = _fitting(view, width)
        parts += [Text(), *_heading(view, width), _table(view, kept)]
        notes = [note for note in view.notes if note not in said]
        said |= set(notes)
        if dropped:
            notes.append(f"not shown: {', '.join(dropped)} (a wider terminal, or --format csv)")
        parts += [_indented(Text(note, style="dim")) for note in notes]
    return Group(*parts) if parts else Text("No records. (rankstone run METHOD --on TASK)")


def to_text(frame: pd.DataFrame, *, width: int, color: bool) -> str:
    """The leaderboard as text, with ANSI colours if asked for."""
    console = Console(
        file=io.StringIO(), width=width, force_terminal=color, no_color=not color, record=True,
        color_system="standard" if color else None, legacy_windows=False,
    )  # fmt: skip
    console.print(tables(frame, width))
    lines = console.export_text(styles=color).splitlines()
    return "\n".join(line.rstrip() for line in lines).strip("\n") + "\n"


def to_svg(frame: pd.DataFrame, *, width: int = PICTURE_WIDTH) -> str:
    """A picture of the terminal's tables; it refers to no font or file elsewhere."""
    console = Console(file=io.StringIO(), width=width, record=True, legacy_windows=False)
    console.print(tables(frame, width), Text())
    return console.export_svg(
        title="rankstone leaderboard",
        theme=_THEME,
        code_format=_SVG,
        unique_id="rankstone",
        font_aspect_ratio=0.602,
    )


def _heading(view: View, width: int) -> list[RenderableType]:
    heading = Text.assemble((view.task, "bold cyan"), "  ", (KINDS[view.kind], "bold"))
    subtitle = Text(view.subtitle, style="dim")
    if heading.cell_len + subtitle.cell_len + _GAP + _MARGIN <= width:
        return [_indented(Text.assemble(heading, "  ", subtitle))]
    return [_indented(heading), _indented(subtitle)]


def _indented(text: Text) -> RenderableType:
    return Padding(text, (0, 0, 0, _MARGIN))


def _fitting(view: View, width: int) -> tuple[list[int], list[str]]:
    """Places of the columns that fit, and the names of those that do not."""
    kept = list(range(len(view.columns)))
    widths = [_width(view, place) for place in kept]
    # A long name gives way before the last figures do.
    widths[0] = min(widths[0], _METHOD_WIDTH)
    while sum(widths[place] + _GAP for place in kept) + _MARGIN > width:
        droppable = [place for place in kept if view.columns[place].rank > 0]
        if not droppable:
            break
        kept.remove(max(droppable, key=lambda place: (view.columns[place].rank, place)))
    dropped = [" ".join(column.header) for at, column in enumerate(view.columns) if at not in kept]
    return kept, dropped


def _width(view: View, place: int) -> int:
    texts: Iterable[str] = (*view.columns[place].header, *(row[place].text for row in view.rows))
    return max(cell_len(text) for text in texts)


def _table(view: View, kept: Sequence[int]) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD, padding=(0, 0, 0, _MARGIN), border_style="dim", show_edge=False,
        header_style="",
    )  # fmt: skip
    for place in kept:
        column = view.columns[place]
        table.add_column(
            Text("\n".join(_bottom_aligned(column, view)), style="bold"),
            justify="left" if place == 0 else "right",
            no_wrap=True,
            overflow="ellipsis",
            max_width=_METHOD_WIDTH if place == 0 else None,
        )
    marked = {at for row in view.rows for at in kept if row[at].text.endswith(REUSED)}
    for row in view.rows:
        table.add_row(*(_cell(row[place], place in marked) for place in kept))
    return table


def _bottom_aligned(column: Column, view: View) -> list[str]:
    height = max(len(other.header) for other in view.columns)
    return [*[""] * (height - len(column.header)), *column.header]


def _cell(cell: Cell, keep_room: bool) -> Text:
    """The cell's text; with room for a mark that other cells of its column have."""
    room = keep_room and not cell.text.endswith(REUSED)
    return Text(f"{cell.text} " if room else cell.text, style=STYLES[cell.mark])


_SVG = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{
font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
font-size: {char_height}px; line-height: {line_height}px; font-variant-east-asian: full-width; }}
.{unique_id}-title {{ font-size: 18px; font-weight: bold;
font-family: system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" /></clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""
