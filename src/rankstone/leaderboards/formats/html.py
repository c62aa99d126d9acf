"""Pages as self-contained HTML, from an escaping template."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from rankstone.leaderboards.document import Page, neutral

if TYPE_CHECKING:
    from jinja2 import Template


def draw(page: Page) -> str:
    return _rendered(page, whole=True)


def fragment(page: Page) -> str:
    """Return the page without head and style, to embed in another page."""
    return neutral(_rendered(page, whole=False))


def _rendered(page: Page, *, whole: bool) -> str:
    titles = (page.title, *(table.title for table in page.tables), "rankstone")
    return _template().render(page=page, title=next(filter(None, titles)), whole=whole)


@cache
def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("rankstone.leaderboards"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    made.tests["kind"] = lambda block, name: type(block).__name__ == name
    return made.get_template("page.html")
