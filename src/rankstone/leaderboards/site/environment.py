"""Jinja2 environment of the site: all text is escaped, undefined names are errors."""

from __future__ import annotations

import math
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from rankstone.leaderboards import numbers
from rankstone.leaderboards.site.model import COLOURS
from rankstone.leaderboards.site.vega import Plot

NAVIGATION = {
    "index.html": "Leaderboard",
    "matrix.html": "All results",
    "datasets.html": "Data sets",
    "pairs.html": "Pairs",
    "trends.html": "Trends",
}


def render(template: str, page: str, **values: Any) -> str:
    """Render `template` with `values` as HTML.

    Args:
        page: Path of the page in the site, which its relative links depend on.
    """
    root = "../" * page.count("/")
    return environment().get_template(template).render(root=root, here=page, **values)


@cache
def environment() -> Environment:
    made = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters.update(
        bytes=numbers.bytes_text, counted=numbers.count, p_value=p_value, quality=numbers.quality,
        shown=shown, signed=signed, significant=numbers.significant,
    )  # fmt: skip
    made.globals.update(
        colours=COLOURS, drawn=drawn, interval=numbers.interval, pages=NAVIGATION,
        unknown=numbers.UNKNOWN, version=version("rankstone"),
    )  # fmt: skip
    made.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    return made


def drawn(plot: Plot, root: str) -> Markup:
    """Return a plot as SVG; Vega escapes its texts."""
    return Markup(plot.svg(root))


def shown(value: float | None, form: str) -> str:
    """Format a number with a Python format, such as `,` or `.1%`."""
    return numbers.UNKNOWN if value is None or math.isinf(value) else format(value, form)


def signed(value: float) -> str:
    """Format a difference with its sign; infinite ends of an interval are unknown."""
    return numbers.UNKNOWN if math.isinf(value) else numbers.signed(value)


def p_value(p: float) -> str:
    return "< .001" if p < 0.001 else numbers.quality(p)


def asset(name: str) -> str:
    """Return the text of a file in `assets/`."""
    return files(__package__).joinpath("assets", name).read_text(encoding="utf-8")
