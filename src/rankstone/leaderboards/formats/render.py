"""Rendering of pages in all formats; the output is deterministic, except for PDF."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rankstone.errors import ResultsError, did_you_mean
from rankstone.leaderboards.document import Page, neutral
from rankstone.leaderboards.formats import (
    csv,
    github,
    html,
    json,
    junit,
    latex,
    markdown,
    parquet,
    pdf,
    svg,
    terminal,
)

FORMATS = ("terminal", "markdown", "csv", "json", "svg", "latex", "html")
"""Text formats, available for every page."""
FILES: Mapping[str, Callable[[Page], bytes]] = {"parquet": parquet.draw, "pdf": pdf.draw}
"""Binary formats, available for every page."""
DRAWN: Mapping[str, Callable[[Page], str]] = {
    "markdown": markdown.draw,
    "csv": csv.draw,
    "json": json.draw,
    "latex": latex.draw,
    "html": html.draw,
    "junit": junit.draw,
    "github": github.draw,
}
"""Formats without a width; `junit` and `github` are only for the page of a gate."""


def render(
    page: Page, form: str = "terminal", *, width: int | None = None, color: bool = False
) -> str:
    """Render the page as text that ends with a newline.

    Args:
        form: One of `FORMATS`, or `junit` or `github` for the page of a gate.
        width: Columns of the terminal (80) or the SVG (116); ignored by other formats.
        color: Use ANSI colours on the terminal.

    Raises:
        ResultsError: the format is unknown.
    """
    if form == "terminal":
        return terminal.draw(page, width=width or 80, color=color)
    if form == "svg":
        return svg.draw(page, width=width or svg.WIDTH)
    if form not in DRAWN:
        raise ResultsError(
            f"There is no format '{form}'.{did_you_mean(form, [*FORMATS, *FILES])}"
            f" (--format {'|'.join([*FORMATS, *FILES])})"
        )
    text = DRAWN[form](page)
    return text if form == "json" else neutral(text)


def content(page: Page, form: str, *, width: int | None = None) -> bytes:
    """Render the page as the content of a file, in any text or binary format."""
    return FILES[form](page) if form in FILES else render(page, form, width=width).encode()
