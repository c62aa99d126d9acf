"""Pages as Markdown: pipe tables as GitHub renders them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from rankstone.leaderboards.document import (
    Block,
    Cell,
    Heading,
    Items,
    Page,
    Paragraph,
    Picture,
    Table,
)

MARKS = {"best": "**{}**", "second": "<u>{}</u>"}


def escape(text: str) -> str:
    """Text that Markdown would read as a column, emphasis, code, a link or a tag, made plain."""
    for character in "\\|*_<`[":
        text = text.replace(character, f"\\{character}")
    return " ".join(text.splitlines())


def line(cells: Iterable[str]) -> str:
    """A row of a pipe table; the cells are escaped already."""
    return f"| {' | '.join(cells)} |"


def draw(page: Page) -> str:
    """The page; its pictures are files of the names they have."""
    parts = [f"# {escape(page.title)}"] if page.title else []
    for title, group in groupby(page.blocks, key=_title):
        blocks = list(group)
        parts += [f"### {escape(title)}"] if title else []
        parts += [part for block in blocks for part in _parts(block)]
        parts += _notes([block for block in blocks if isinstance(block, Table)])
    return "\n\n".join(parts) + "\n"


def _title(block: Block) -> str:
    """Tables of one title share it, and their notes."""
    return block.title if isinstance(block, Table) else ""


def _notes(tables: list[Table]) -> Iterator[str]:
    notes = dict.fromkeys(note for one in tables if one.title for note in one.notes)
    if notes:
        yield _items(notes)


def _items(texts: Iterable[str]) -> str:
    return "\n".join(f"* {escape(text)}" for text in texts)


def _parts(block: Block) -> Iterator[str]:
    match block:
        case Heading(text, level):
            yield f"{'#' * level} {escape(text)}"
        case Paragraph(text, strong):
            yield f"**{escape(text)}**" if strong else escape(text)
        case Items(texts):
            yield _items(texts)
        case Picture(name, _, caption):
            yield f"![{escape(caption)}]({name})"
        case Table():
            above = " · ".join(part for part in (block.kind.capitalize(), block.subtitle) if part)
            yield from [escape(above)] if above else []
            yield "\n".join(_pipes(block))
            if block.notes and not block.title:
                yield _items(block.notes)


def _pipes(table: Table) -> Iterator[str]:
    yield line(escape(column.name) for column in table.columns)
    yield line(":---" if column.left else "---:" for column in table.columns)
    for row in table.rows:
        yield line(map(_cell, row))


def _cell(cell: Cell) -> str:
    text = MARKS.get(cell.mark, "{}").format(escape(cell.text))
    letters = f"<sup>{cell.letters}</sup>" if cell.letters else ""
    return f"{text}{letters}" + (f" [{cell.interval}]" if cell.interval else "")
