"""Small pieces of HTML. All text goes through `escape`: names and queries are hostile input."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache
from html import escape as escape
from importlib.resources import files
from string import Template
from typing import Any

from rankstone import __version__
from rankstone.leaderboards.numbers import UNKNOWN

NAV = {"index.html": "Leaderboard", "datasets.html": "Data sets", "pairs.html": "Pairs"}
_CURRENT = ' aria-current="page"'


@cache
def asset(name: str) -> str:
    """The text of a file in `assets/`."""
    return files(__package__).joinpath("assets", name).read_text(encoding="utf-8")


def page(*, title: str, body: str, place: str = "", here: str = "") -> str:
    """A whole page.

    Args:
        title: not escaped yet.
        body: HTML of the main part.
        place: the way from the page to the folder of the site: `""` or `"../"`.
        here: the entry of `NAV` that the page is.
    """
    links = "".join(
        f'<a href="{place}{file}"{_CURRENT if file == here else ""}>{name}</a>'
        for file, name in NAV.items()
    )
    return Template(asset("page.html")).substitute(
        title=escape(title), body=body, root=place, nav=links, version=escape(__version__)
    )


def data(value: Any) -> str:
    """`value` as JSON inside a page, where no `</script>` can end it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return f'<script type="application/json">{text}</script>'


def plot(kind: str, rows: Any, *, label: str, caption: str = "", **words: str) -> str:
    """A figure that `site.js` draws when it comes into view.

    Args:
        kind: a key of `plots.specs()`.
        rows: its data; JSON.
        label: what is to be seen, for who cannot see it; not escaped yet.
        caption: HTML.
        words: what stands in the plot's words in place of `$<key>`.
    """
    below = f"<figcaption>{caption}</figcaption>" if caption else ""
    return (
        f'<figure class="plot plot-{kind}" data-plot="{kind}" data-words="{attribute(words)}">'
        f'<div class="canvas" role="img" aria-label="{escape(label)}"></div>'
        f"{data(rows)}{below}</figure>"
    )


def attribute(value: Any) -> str:
    """JSON as the value of an attribute."""
    return escape(json.dumps(value, ensure_ascii=False, sort_keys=True))


def link(target: str, text: str) -> str:
    """A link; `target` is one of our own pages, `text` not escaped yet."""
    return f'<a href="{escape(target)}">{escape(text)}</a>'


def definitions(rows: Iterable[tuple[str, str]]) -> str:
    """Names and values (not escaped yet) in two columns."""
    pairs = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in rows
    )
    return f'<dl class="facts">{pairs}</dl>'


def tiles(rows: Iterable[tuple[str, str, str]]) -> str:
    """The figures a page is about: name, value and what stands below it; none escaped yet."""
    shown = "".join(
        f'<div class="tile"><dt>{escape(name)}</dt><dd>{escape(value)}'
        f"{f'<small>{escape(below)}</small>' if below else ''}</dd></div>"
        for name, value, below in rows
    )
    return f'<dl class="tiles">{shown}</dl>'


def simple_table(heads: Iterable[str], rows: Iterable[Iterable[str]], *, caption: str) -> str:
    """A table whose first column names the rows; cells are HTML, heads and caption text."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in heads)
    lines = []
    for row in rows:
        first, *others = row
        cells = "".join(f"<td>{cell}</td>" for cell in others)
        lines.append(f'<tr><th scope="row">{first}</th>{cells}</tr>')
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f'<table class="plain"><caption class="unseen">{escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def sort_head(name: str, *, shown: str = "", text: bool = False, rising: bool = False) -> str:
    """A heading that sorts its column.

    Args:
        name: what the button says it sorts by; not escaped yet.
        shown: HTML in place of the name.
        text: the column holds words.
        rising: smaller is better, so the first press sorts upwards.
    """
    first = "ascending" if text or rising else "descending"
    return (
        f'<th scope="col" aria-sort="none"{" class=t" if text else ""} data-first="{first}">'
        f"{shown or f'<span>{escape(name)}</span>'}"
        f'<button class="sort" aria-label="Sort by {escape(name)}"></button></th>'
    )


def filters(choices: Mapping[str, Iterable[str]], *, noun: str, count: int) -> str:
    """What narrows the table down: a search field, and one list for each of `choices`."""
    lists = "".join(
        f'<label>{escape(name)}<select data-key="{escape(name)}"><option value="">all</option>'
        + "".join(f"<option>{escape(value)}</option>" for value in values)
        + "</select></label>"
        for name, values in choices.items()
    )
    return (
        '<form class="filters" role="search">'
        f'<label class="grow">search<input type="search" placeholder="name of a method"></label>'
        f'{lists}<button type="reset">clear</button>'
        f'<output aria-live="polite" data-noun="{escape(noun)}">{count:,} {escape(noun)}</output>'
        "</form>"
    )


def or_unknown(text: str | None) -> str:
    return text if text else UNKNOWN
