"""Pages as terminal output."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
    "unclear": "magenta", "strong": "bold",
}  # fmt: skip
_GAP = 2
_MARGIN = 1
_NAME_WIDTH = 36
"""Longer names get a line of their own, above their figures, in narrow terminals."""
_WORD_WIDTH = 48
"""Longer words of a sentence, such as paths, continue on the next line."""
_TEXT_ROOM = 20
"""Characters given to a sentence before columns of figures are dropped."""
_NAME_ROOM = 12
"""Minimum width of names, in characters."""
_HIDDEN = "not shown for lack of width: {names} (a wider terminal, or --format csv)"


class SafeConsole(Console):
    """Console that neutralises control characters in texts, such as names.

    It also writes to its file in notebooks, where rich would display the output instead.
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
    """Return the page as text, optionally with ANSI colours."""
    console = SafeConsole(
        file=io.StringIO(), width=width, force_terminal=color, no_color=not color, record=True,
        color_system="standard" if color else None, legacy_windows=False,
    )  # fmt: skip
    console.print(drawn(page, width))
    lines = console.export_text(styles=color).splitlines()
    return "\n".join(line.rstrip() for line in lines).strip("\n") + "\n"


def drawn(page: Page, width: int) -> RenderableType:
    """Return the page as one rich renderable, at most `width` characters wide.

    Columns that do not fit are dropped, the least important first, and listed below the table.
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
        case doc.Folded(_, blocks):
            for inner in blocks:
                yield from _parts(inner, width, printed)
        case Table(headless=True):
            yield _indented(_list(block))
        case Table():
            body, dropped = _fitted(block, width)
            yield from (Text(), *_heading(block, width), *body)
            notes = [note for note in block.notes if note not in printed]
            printed.update(notes)
            notes += [_HIDDEN.format(names=", ".join(dropped))] if dropped else []
            yield from (_indented(Text(note, "dim")) for note in notes)


def _heading(table: Table, width: int) -> list[RenderableType]:
    parts = [(table.title, "bold"), (table.kind, "bold")]
    heading = Text("  ").join(Text(text, style) for text, style in parts if text)
    subtitle = Text(table.subtitle, style="dim")
    if not heading or not subtitle:
        return [_indented(text) for text in (heading, subtitle) if text]
    if heading.cell_len + subtitle.cell_len + _GAP + _MARGIN <= width:
        return [_indented(Text.assemble(heading, "  ", subtitle))]
    return [_indented(heading), _indented(subtitle)]


def _indented(text: RenderableType) -> RenderableType:
    return Padding(text, (0, 0, 0, _MARGIN), expand=False)


def _list(table: Table) -> RichTable:
    """Return the rows without headings."""
    grid = RichTable.grid(padding=(0, 1))
    grid.expand = True
    for column in table.columns[:-1]:
        grid.add_column(no_wrap=True, style="dim" if column.left else "")
    grid.add_column(ratio=1, overflow="fold")
    for row in table.rows:
        grid.add_row(*(_cell(cell, keep_room=False) for cell in row))
    return grid


def _fitted(table: Table, width: int) -> tuple[list[RenderableType], list[str]]:
    """Return the table with unbroken names and figures, and the names of the dropped columns.

    If words of several columns would be broken, the rows are stacked, with all columns.
    """
    kept = _fitting(table, width)
    least = {place: _least(table, place) for place in kept}
    others = _total(least[place] for place in kept[1:]) + _GAP
    least[0] = min(least[0], max(width - others, _NAME_ROOM))
    wrapped = [place for place in kept[1:] if table.columns[place].wrap]
    if table.rows and wrapped and _total(least.values()) > width:
        return [_stacked(table)], []
    dropped = [column.name for at, column in enumerate(table.columns) if at not in kept]
    return list(_chunks(table, _shared(table, least, width))), dropped


def _fitting(table: Table, width: int) -> list[int]:
    """Return the positions of the columns that fit."""
    columns = table.columns
    kept = list(range(len(columns)))
    widths = [max(_least(table, n), min(_width(table, n), _TEXT_ROOM)) for n in kept]
    # Long names shrink before figures are dropped.
    widths[0] = min(widths[0], _NAME_WIDTH)
    while _total(widths[place] for place in kept) > width:
        droppable = [place for place in kept if columns[place].priority > 0]
        if not droppable:
            break
        kept.remove(max(droppable, key=lambda place: (columns[place].priority, place)))
    return kept


def _total(widths: Iterable[int]) -> int:
    return sum(width + _GAP for width in widths) + _MARGIN - _GAP


def _least(table: Table, place: int) -> int:
    """Return the minimum width at which the column's figures, names and words are unbroken."""
    column = table.columns[place]
    texts = (_longest(row[place], column) for row in table.rows)
    return max((*texts, *map(cell_len, _head(column))), default=0)


def _longest(cell: Cell, column: Column) -> int:
    """Return the width of the longest unbreakable part of the text.

    Names are unbreakable, and so are words of sentences up to `_WORD_WIDTH`.
    """
    text = _text(cell)
    widths = [cell_len(word) for word in (text.split() if column.wrap else [text])]
    if len(widths) > 1:
        widths = [width if width <= _WORD_WIDTH else _TEXT_ROOM for width in widths]
    return max(widths, default=0)


def _shared(table: Table, least: Mapping[int, int], width: int) -> dict[int, int]:
    """Return the widths of the columns; spare width is shared by columns that can use it."""
    widths, spare = dict(least), width - _total(least.values())
    wanted = {place: _width(table, place) - least[place] for place in least}
    growing = sorted((place for place in least if wanted[place] > 0), key=wanted.__getitem__)
    for left, place in zip(range(len(growing), 0, -1), growing, strict=True):
        more = max(0, min(wanted[place], spare // left))
        widths[place] += more
        spare -= more
    return widths


def _chunks(table: Table, widths: Mapping[int, int]) -> Iterator[RenderableType]:
    """Yield the rows; a name longer than its column gets a line of its own above its row."""
    rows, headed = list[Sequence[Cell]](), False
    for row in table.rows:
        if _longest(row[0], table.columns[0]) <= widths[0]:
            rows.append(row)
            continue
        yield from [] if headed and not rows else [_table(table, rows, widths, headed)]
        yield _indented(Text(_text(row[0]), STYLES[row[0].mark]))
        rows, headed = [(Cell(text=""), *row[1:])], True
    yield _table(table, rows, widths, headed)


def _stacked(table: Table) -> RenderableType:
    """Return the rows one below the other, with a line for each column."""
    parts: list[RenderableType] = []
    for row in table.rows:
        grid = RichTable.grid(padding=(0, 1, 0, 0))
        grid.add_column(no_wrap=True, style="dim")
        grid.add_column(overflow="fold")
        for column, cell in zip(table.columns[1:], row[1:], strict=True):
            if cell.text:
                grid.add_row(column.name, _cell(cell, keep_room=False))
        parts += [
            _indented(Text(_text(row[0]), f"bold {STYLES[row[0].mark]}")),
            Padding(grid, (0, 0, 0, 3 * _MARGIN)),
        ]
    return Group(*parts)


def _width(table: Table, place: int) -> int:
    column = table.columns[place]
    texts: Iterable[str] = (*_head(column), *(_text(row[place]) for row in table.rows))
    return max(cell_len(text) for text in texts)


def _head(column: Column) -> tuple[str, ...]:
    return column.short or column.heading


def _table(
    table: Table, rows: Sequence[Sequence[Cell]], widths: Mapping[int, int], headed: bool
) -> RichTable:
    made = RichTable(
        box=box.SIMPLE_HEAD, padding=(0, 0, 0, _MARGIN), border_style="dim",
        show_edge=False, header_style="", show_header=not headed,
    )  # fmt: skip
    for place, width in widths.items():
        column = table.columns[place]
        made.add_column(
            Text("\n".join(_bottom_aligned(column, table)), style="bold"),
            justify="left" if column.left else "right",
            no_wrap=not column.wrap,
            overflow="fold" if column.wrap else "ellipsis",
            width=width,
        )
    marked = {n for row in table.rows for n in widths if row[n].text.endswith((REUSED, UNSTEADY))}
    for row in rows:
        made.add_row(*(_cell(row[place], place in marked) for place in widths))
    return made


def _bottom_aligned(column: Column, table: Table) -> list[str]:
    height = max(len(_head(other)) for other in table.columns)
    return [*[""] * (height - len(_head(column))), *_head(column)]


def _text(cell: Cell) -> str:
    letters = f" {cell.letters}" if cell.letters else ""
    return f"{cell.text}{letters}" + (f" [{cell.interval}]" if cell.interval else "")


def _cell(cell: Cell, keep_room: bool) -> Text:
    """Return the cell's text, padded if other cells of its column have a mark."""
    text, room = _text(cell), keep_room and not cell.text.endswith((REUSED, UNSTEADY))
    return Text(f"{text} " if room else text, style=STYLES[cell.mark])
