"""Pictures as vector PDF, drawn from the same SVG."""

from __future__ import annotations

from rankstone.errors import require
from rankstone.leaderboards.document import Page
from rankstone.leaderboards.formats import svg


def draw(page: Page) -> bytes:
    return converted(svg.draw(page))


def converted(picture: str) -> bytes:
    """Convert an SVG to PDF.

    Raises:
        MissingExtraError: the library for the conversion is not installed.
    """
    require("PDF", "site", "vl_convert")
    from vl_convert import svg_to_pdf

    return svg_to_pdf(picture)
