"""The formats of a page. The same page gives the same bytes, except in PDF."""

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
"""Formats of every page."""
FILES: Mapping[str, Callable[[Page], bytes]] = {"parquet": parquet.draw, "pdf": pdf.draw}
"""Formats of every page that are not text."""
DRAWN: Mapping[str, Callable[[Page], str]] = {
    "markdown": markdown.draw,
    "csv": csv.draw,
    "json": json.draw,
    "latex": latex.draw,
    "html": html.draw,
    "junit": junit.draw,
    "github": github.draw,
}
"""Formats of fixed width; `junit` and `github` are for the page of a gate."""


def render(
    page: Page, form: str = "terminal", *, width: int | None = None, color: bool = False
) -> str:
    """The page as text that ends with a newline.

    Args:
        form: one of `FORMATS`, or `junit` or `github` for the page of a gate.
        width: columns of the terminal (80) or of the picture (116); unused elsewhere.
        color: ANSI colours, for the terminal.

    Raises:
        ResultsError: there is no such format.
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
    """The page as the content of a file, in a format of `FILES` too."""
    return FILES[form](page) if form in FILES else render(page, form, width=width).encode()
