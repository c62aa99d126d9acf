"""Pages as data: headings, paragraphs, lists, tables and pictures, before a format draws them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Characters that move a terminal's cursor, or change the order in which it shows others."""
Mark = Literal["", "best", "second", "failed", "passed", "unclear", "strong"]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell of a table."""

    text: str
    value: float | str | None = None
    """The figure at full precision; None where it is unknown, or where the text is all there is."""
    mark: Mark = ""
    letters: str = ""
    """Letters of the methods that it is significantly above of."""
    interval: str = ""
    low: float | None = None
    high: float | None = None
    """Ends of the interval at full precision, which `interval` shows or leaves out."""
    note: str = ""
    """Reason to read the figure with care, for programs; the text carries its mark."""
    link: str = ""
    """Heading of the page that the cell refers to."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table."""

    heading: tuple[str, ...]
    """Lines of the heading: the figure, then its percentile and unit."""
    short: tuple[str, ...] = ()
    """The heading where room is short."""
    priority: int = 0
    """0: always shown; of the others the highest is left out first where room is short."""
    left: bool = False
    """Aligned on the left."""
    wrap: bool = False
    """Continued on the next line where room is short, instead of truncated."""

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
    """The one of several tables of that title."""
    subtitle: str = ""
    notes: tuple[str, ...] = ()
    headless: bool = False
    """A list in columns, without headings."""


@dataclass(frozen=True)
class Heading:
    text: str
    level: int = 2


@dataclass(frozen=True)
class Paragraph:
    text: str = ""
    lead: str = ""
    """Words in bold, which the text continues."""


@dataclass(frozen=True)
class Items:
    texts: tuple[str, ...]


@dataclass(frozen=True)
class Picture:
    name: str
    """Name of the file where pictures lie beside the page."""
    svg: str
    caption: str


@dataclass(frozen=True)
class Folded:
    """Blocks that a reader opens, where the format can fold."""

    summary: str
    blocks: tuple[Block, ...]


Block = Heading | Paragraph | Items | Table | Picture | Folded


def unfolded(blocks: Iterable[Block]) -> Iterator[Block]:
    """Yield the blocks, with those of `Folded` in their places."""
    for block in blocks:
        yield from unfolded(block.blocks) if isinstance(block, Folded) else [block]


@dataclass(frozen=True, kw_only=True)
class Page:
    """All that one result shows."""

    blocks: tuple[Block, ...]
    title: str = ""
    fields: tuple[str, ...] = ()
    """Names of the values of `rows`."""
    rows: tuple[Mapping[str, object], ...] = ()
    """The figures at full precision, for programs; None is unknown."""
    body: object = None
    """The same as a document for programs; None: the rows are all."""

    @property
    def tables(self) -> list[Table]:
        return [block for block in unfolded(self.blocks) if isinstance(block, Table)]

    @property
    def pictures(self) -> dict[str, str]:
        """File name -> SVG."""
        return {b.name: b.svg for b in unfolded(self.blocks) if isinstance(b, Picture)}


def neutral(text: str) -> str:
    """Return `text` with U+FFFD in place of `CONTROLS`, as it is safe to print."""
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
    """A table of text.

    Args:
        heads: names of the columns; one may have several lines.
        figures: columns of numbers, aligned on the right and never wrapped.
        priorities: those of columns that may be left out where room is short.
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
