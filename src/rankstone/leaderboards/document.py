"""Format-independent pages: headings, paragraphs, lists, tables and pictures."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Characters that control a terminal or change the display order of text."""
Mark = Literal["", "best", "second", "failed", "passed", "unclear", "strong"]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell of a table."""

    text: str
    value: float | str | None = None
    """Figure at full precision; None if it is unknown or the cell is only text."""
    mark: Mark = ""
    letters: str = ""
    """Letters of the methods that it is significantly above."""
    interval: str = ""
    low: float | None = None
    high: float | None = None
    """Ends of the interval at full precision, even if `interval` is not shown."""
    note: str = ""
    """Caveat about the figure in machine-readable formats; the text has the mark."""
    link: str = ""
    """Heading on the page to which the cell links."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table."""

    heading: tuple[str, ...]
    """Lines of the heading: name, then percentile and unit."""
    short: tuple[str, ...] = ()
    """Heading in narrow output."""
    priority: int = 0
    """0: always shown; columns with the highest value are dropped first in narrow output."""
    left: bool = False
    """Left-aligned."""
    wrap: bool = False
    """Wrapped in narrow output instead of truncated."""

    @property
    def name(self) -> str:
        return " ".join(self.heading)


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table; the first cell of each row names the row."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    title: str = ""
    kind: str = ""
    """Distinguishes several tables with the same title."""
    subtitle: str = ""
    notes: tuple[str, ...] = ()
    headless: bool = False
    """Shown without column headings."""


@dataclass(frozen=True)
class Heading:
    text: str
    level: int = 2


@dataclass(frozen=True)
class Paragraph:
    text: str = ""
    lead: str = ""
    """Bold words before the text."""


@dataclass(frozen=True)
class Items:
    texts: tuple[str, ...]


@dataclass(frozen=True)
class Picture:
    name: str
    """File name, if pictures are written beside the page."""
    svg: str
    caption: str


@dataclass(frozen=True)
class Folded:
    """Collapsible blocks, in formats that support them."""

    summary: str
    blocks: tuple[Block, ...]


Block = Heading | Paragraph | Items | Table | Picture | Folded


def unfolded(blocks: Iterable[Block]) -> Iterator[Block]:
    """Yield the blocks, with `Folded` ones replaced by their content."""
    for block in blocks:
        yield from unfolded(block.blocks) if isinstance(block, Folded) else [block]


@dataclass(frozen=True, kw_only=True)
class Page:
    """Content of one result, for readers and for programs."""

    blocks: tuple[Block, ...]
    title: str = ""
    fields: tuple[str, ...] = ()
    """Columns of `rows`."""
    rows: tuple[Mapping[str, object], ...] = ()
    """Figures at full precision, for machine-readable formats; None means unknown."""
    body: object = None
    """JSON document with the same content; None if `rows` suffice."""

    @property
    def tables(self) -> list[Table]:
        return [block for block in unfolded(self.blocks) if isinstance(block, Table)]

    @property
    def pictures(self) -> dict[str, str]:
        """File name -> SVG."""
        return {b.name: b.svg for b in unfolded(self.blocks) if isinstance(b, Picture)}


def neutral(text: str) -> str:
    """Return `text` with `CONTROLS` replaced by U+FFFD, safe to print."""
    return CONTROLS.sub("\ufffd", text)


def table(
    heads: Sequence[str],
    rows: Iterable[Sequence[str | Cell]],
    *,
    figures: Collection[str] = (),
    title: str = "",
    notes: Iterable[str] = (),
    headless: bool = False,
    priorities: Mapping[str, int] = {},
) -> Table:
    """Build a table from texts.

    Args:
        heads: Names of the columns; may contain line breaks.
        figures: Columns of numbers, right-aligned and never wrapped.
        priorities: `Column.priority` of columns that may be dropped in narrow output.
    """
    return Table(
        columns=tuple(
            Column(
                heading=tuple(h.split("\n")),
                left=h not in figures,
                wrap=h not in figures,
                priority=priorities.get(h, 0),
            )
            for h in heads
        ),
        rows=tuple(
            tuple(Cell(text=one) if isinstance(one, str) else one for one in row) for row in rows
        ),
        title=title,
        notes=tuple(notes),
        headless=headless,
    )
