"""Pages as Markdown: pipe tables as GitHub renders them."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator
from itertools import groupby

from rankstone.leaderboards import document as doc
from rankstone.leaderboards.document import Block, Cell, Page, Table

MARKS = {"best": "**{}**", "strong": "**{}**", "second": "<ins>{}</ins>"}
"""Markup of marked cells; `ins` is the only underlining element that GitHub keeps."""
SPECIAL = re.compile(r"[\\|*<`\[~]|(?<![^\W_])_|_(?![^\W_])|&(?=#?\w+;)")
"""Characters that are markup in Markdown; `_` only outside words."""
START = re.compile(r"^(?=[#>+-] )|^(\d+)(?=[.)] )")
"""Start of a heading, a quotation or a list."""


def escape(text: str) -> str:
    """Escape columns, emphasis, code, links, entities and tags of Markdown."""
    return SPECIAL.sub(r"\\\g<0>", " ".join(text.splitlines()))


def _prose(text: str) -> str:
    """Escape a paragraph, also at its start, where a list or heading could begin."""
    return START.sub(r"\1\\", escape(text))


def _line(cells: Iterable[str]) -> str:
    """Return a row of a pipe table; the cells must be escaped."""
    return f"| {' | '.join(cells)} |"


def draw(page: Page) -> str:
    """Return the page; pictures are linked by their file names."""
    parts = [f"# {escape(page.title)}"] if page.title else []
    return "\n\n".join([*parts, *_all_parts(page.blocks)]) + "\n"


def _all_parts(page_blocks: Iterable[Block]) -> Iterator[str]:
    for title, group in groupby(page_blocks, key=_title):
        blocks = list(group)
        yield from [f"### {escape(title)}"] if title else []
        yield from (part for block in blocks for part in _parts(block))
        yield from _notes([block for block in blocks if isinstance(block, Table)])


def _title(block: Block) -> str:
    """Return the title of a table; consecutive tables with equal titles are one section."""
    return block.title if isinstance(block, Table) else ""


def _notes(tables: list[Table]) -> Iterator[str]:
    notes = dict.fromkeys(note for one in tables if one.title for note in one.notes)
    if notes:
        yield _items(notes)


def _items(texts: Iterable[str]) -> str:
    return "\n".join(f"* {_prose(text)}" for text in texts)


def _parts(block: Block) -> Iterator[str]:
    match block:
        case doc.Heading(text, level):
            yield f"{'#' * level} {escape(text)}"
        case doc.Paragraph(text, ""):
            yield _prose(text)
        case doc.Paragraph(text, lead):
            yield f"**{escape(lead)}**{escape(text)}"
        case doc.Items(texts):
            yield _items(texts)
        case doc.Picture(name, _, caption):
            yield f"![{escape(caption)}]({name})"
        case doc.Folded(summary, blocks):
            yield f"<details><summary>{html.escape(summary)}</summary>"
            yield from _all_parts(blocks)
            yield "</details>"
        case Table():
            above = " · ".join(part for part in (block.kind.capitalize(), block.subtitle) if part)
            yield from [_prose(above)] if above else []
            yield "\n".join(_pipes(block))
            if block.notes and not block.title:
                yield _items(block.notes)


def _pipes(table: Table) -> Iterator[str]:
    yield _line(escape(column.name) for column in table.columns)
    yield _line(":---" if column.left else "---:" for column in table.columns)
    for row in table.rows:
        yield _line(map(_cell, row))


def _cell(cell: Cell) -> str:
    text = MARKS.get(cell.mark, "{}").format(escape(cell.text))
    if cell.link:
        text = text.replace("]", r"\]")
        text = f"[{text}](#{cell.link})"
    letters = f"<sup>{cell.letters}</sup>" if cell.letters else ""
    return f"{text}{letters}" + (f" [{cell.interval}]" if cell.interval else "")
