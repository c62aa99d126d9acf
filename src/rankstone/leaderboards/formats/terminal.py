"""Pages on the terminal."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Table as RichTable
from rich.text import Text

from rankstone.leaderboards import document as doc
from rankstone.leaderboards.document import Block, Cell, Column, Page, Table, neutral
from rankstone.leaderboards.numbers import REUSED, UNSTEADY

STYLES = {
    "": "", "best": "bold green", "second": "underline", "failed": "bold red", "passed": "green",
    "unclear": "yellow", "strong": "bold",
}  # fmt: skip
_GAP = 2
_MARGIN = 1
_NAME_WIDTH = 36
_WORD_WIDTH = 24


class SafeConsole(Console):
    """A console on which no text, of a name for example, controls the terminal.

    It writes to its file in a notebook too, where others display what is printed.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(force_jupyter=False, **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        for segment in super().render(renderable, options):
            text, style, control = segment
            yield segment if control else Segment(neutral(text), style)


def draw(page: Page, *, width: int, color: bool = False) -> str:
    """The page as text, with ANSI colours if asked for."""
    console = SafeConsole(
        file=io.StringIO(), width=width, force_terminal=color, no_color=not color, record=True,
        color_system="standard" if color else None, legacy_windows=False,
    )  # fmt: skip
    console.print(drawn(page, width))
    lines = console.export_text(styles=color).splitlines()
    return "\n".join(line.rstrip() for line in lines).strip("\n") + "\n"


def drawn(page: Page, width: int) -> RenderableType:
    """The page as one rich renderable, at most `width` columns wide.

    Columns that do not fit are left out, the least important first, and named below the table.
    """
    parts: list[RenderableType] = [_indented(Text(page.title, "bold"))] if page.title else []
    printed: set[str] = set()
    for block in page.blocks:
        parts += _parts(block, width, printed)
    return Group(*parts)


def _parts(block: Block, width: int, printed: set[str]) -> Iterator[RenderableType]:
    match block:
        case doc.Heading(text):
            yield from (Text(), _indented(Text(text, "bold")))
        case doc.Paragraph(text, lead):
            yield _indented(Text.assemble((lead, "bold"), text))
        case doc.Items(texts):
            yield from (_indented(Text(text, "dim")) for text in texts)
        case doc.Picture():
            pass
        case Table(headless=True):
            yield _indented(_list(block))
        case Table():
            kept, dropped = _fitting(block, width)
            fits = not block.rows or _least(block, kept) <= width
            body = _table(block, kept) if fits else _stacked(block)
            yield from (Text(), *_heading(block, width), body)
            notes = [note for note in block.notes if note not in printed]
            printed.update(notes)
            if dropped:
                names = ", ".join(dropped)
                notes.append(f"not shown: {names} (a wider terminal, or --format csv)")
            yield from (_indented(Text(note, "dim")) for note in notes)


def _heading(table: Table, width: int) -> list[RenderableType]:
    parts = [(table.title, "bold cyan"), (table.kind, "bold")]
    heading = Text("  ").join(Text(text, style) for text, style in parts if text)
    subtitle = Text(table.subtitle, style="dim")
    if not heading or not subtitle:
        return [_indented(text) for text in (heading, subtitle) if text]
    if heading.cell_len + subtitle.cell_len + _GAP + _MARGIN <= width:
        return [_indented(Text.assemble(heading, "  ", subtitle))]
    return [_indented(heading), _indented(subtitle)]


def _indented(text: RenderableType) -> RenderableType:
    return Padding(text, (0, 0, 0, _MARGIN))


def _list(table: Table) -> RichTable:
    """Rows without headings."""
    grid = RichTable.grid(padding=(0, 1))
    grid.expand = True
    for column in table.columns[:-1]:
        grid.add_column(no_wrap=True, style="dim" if column.left else "")
    grid.add_column(ratio=1, overflow="fold")
    for row in table.rows:
        grid.add_row(*(_cell(cell, keep_room=False) for cell in row))
    return grid


def _fitting(table: Table, width: int) -> tuple[list[int], list[str]]:
    """Places of the columns that fit, and the names of those that do not."""
    columns = table.columns
    kept = list(range(len(columns)))
    widths = [_width(table, place) for place in kept]
    # A long name gives way before the last figures do.
    widths[0] = min(widths[0], _NAME_WIDTH)
    while sum(widths[place] + _GAP for place in kept) + _MARGIN > width:
        droppable = [place for place in kept if columns[place].priority > 0]
        if not droppable:
            break
        kept.remove(max(droppable, key=lambda place: (columns[place].priority, place)))
    return kept, [column.name for at, column in enumerate(columns) if at not in kept]


def _least(table: Table, kept: Sequence[int]) -> int:
    """Return the width below which words of wrapped columns would be broken; 0 without such."""
    columns = [n for n in kept if table.columns[n].wrap]
    if len(columns) < 2:
        return 0
    words = (
        max(len(word) for row in table.rows for word in (row[n].text or "-").split())
        for n in columns
    )
    fixed = sum(_width(table, n) for n in kept if n not in columns)
    return fixed + sum(min(word, _WORD_WIDTH) for word in words) + _GAP * len(kept)


def _stacked(table: Table) -> RenderableType:
    """Return the rows below each other, each column on a line of its own."""
    parts: list[RenderableType] = []
    for row in table.rows:
        grid = RichTable.grid(padding=(0, 1, 0, 0))
        grid.add_column(no_wrap=True, style="dim")
        grid.add_column(overflow="fold")
        for column, cell in zip(table.columns[1:], row[1:], strict=True):
            if cell.text:
                grid.add_row(column.name, _cell(cell, keep_room=False))
        parts += [_indented(Text(_text(row[0]), "bold")), Padding(grid, (0, 0, 0, 3 * _MARGIN))]
    return Group(*parts)


def _width(table: Table, place: int) -> int:
    column = table.columns[place]
    texts: Iterable[str] = (*_head(column), *(_text(row[place]) for row in table.rows))
    return max(cell_len(text) for text in texts)


def _head(column: Column) -> tuple[str, ...]:
    return column.short or column.heading


def _table(table: Table, kept: Sequence[int]) -> RichTable:
    made = RichTable(
        box=box.SIMPLE_HEAD, padding=(0, 0, 0, _MARGIN), border_style="dim", show_edge=False,
        header_style="",
    )  # fmt: skip
    for place in kept:
        column = table.columns[place]
        made.add_column(
            Text("\n".join(_bottom_aligned(column, table)), style="bold"),
            justify="left" if column.left else "right",
            no_wrap=not column.wrap,
            overflow="fold" if column.wrap else "ellipsis",
            max_width=_NAME_WIDTH if place == 0 and not column.wrap else None,
        )
    marked = {at for row in table.rows for at in kept if row[at].text.endswith((REUSED, UNSTEADY))}
    for row in table.rows:
        made.add_row(*(_cell(row[place], place in marked) for place in kept))
    return made


def _bottom_aligned(column: Column, table: Table) -> list[str]:
    height = max(len(_head(other)) for other in table.columns)
    return [*[""] * (height - len(_head(column))), *_head(column)]


def _text(cell: Cell) -> str:
    letters = f" {cell.letters}" if cell.letters else ""
    return f"{cell.text}{letters}" + (f" [{cell.interval}]" if cell.interval else "")


def _cell(cell: Cell, keep_room: bool) -> Text:
    """The cell's text; with room for a mark that other cells of its column have."""
    text, room = _text(cell), keep_room and not cell.text.endswith((REUSED, UNSTEADY))
    return Text(f"{text} " if room else text, style=STYLES[cell.mark])
