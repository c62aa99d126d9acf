"""What all pages of Markdown share."""

from __future__ import annotations

from collections.abc import Iterable


def escape(text: str) -> str:
    """Text that Markdown would read as a column, emphasis or a tag, made plain."""
    for character in "\\|*_<`[":
        text = text.replace(character, f"\\{character}")
    return text


def line(cells: Iterable[str]) -> str:
    """A row of a pipe table; the cells are escaped already."""
    return f"| {' | '.join(cells)} |"
