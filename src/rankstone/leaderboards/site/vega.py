"""Plots: one Vega specification of each kind for the whole site, and their data.

Altair describes them; they are compiled here, so that pages need Vega alone and not Vega-Lite.
`site.js` inserts the data of a page and the colours of the light or dark theme (`$ink` etc.).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from rankstone.errors import MissingExtraError
from rankstone.leaderboards.costs import Cost, mark_of, pareto_optimal
from rankstone.leaderboards.numbers import GIB, MIB
from rankstone.leaderboards.site.model import COLOURS, Entry, Site

if TYPE_CHECKING:
    import altair as alt

DIGITS = 5
"""Significant digits of plotted values: more than a screen can show."""

LETTER, LINE = 0.021, 0.07
"""Size of the names in plots, as shares of the width and the height of a narrow one."""


COSTS = {"p95 latency": "p95 latency", "peak RSS": "peak memory", "index": "index in memory"}
"""Names of the costs that quality is drawn against, and the titles of their axes."""


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A figure that `site.js` draws."""

    kind: str
    """A key of `specs()`."""
    rows: Any
    """JSON: the rows of its data, or several tables of them by name."""
    label: str
    """Its content in words, for readers who cannot see it."""
    words: Mapping[str, str] = field(default_factory=dict)
    """Texts that replace `$<key>` in the specification."""
    caption: str = ""
    environment: str = ""
    """The hardware of its records, where another plot shows the same costs of another."""


def front_rows(
    site: Site, entries: Iterable[Entry], cost: Cost
) -> tuple[list[dict[str, Any]], str]:
    """Points of quality against `cost`, the Pareto-optimal ones marked, and the unit of the cost.

    Records that lack either figure, or cost nothing (the axis is logarithmic), are left out.
    """
    known = [
        (entry, value, measure)
        for entry in entries
        if (value := cost.of(entry.record)) and value > 0 and (measure := entry.record.headline)
    ]
    unit, size = cost.unit, 1
    if unit == "bytes":
        smallest = min((value for _, value, _ in known), default=0)
        unit, size = ("GiB", GIB) if smallest >= GIB else ("MiB", MIB)
    front = pareto_optimal(cost, [entry.record for entry, _, _ in known])
    rows = []
    for (entry, value, measure), best in zip(known, front, strict=True):
        mark = mark_of(cost, entry.record)
        rows.append(
            {
                "x": rounded(value / size),
                "y": rounded(measure.mean),
                "low": rounded(measure.mean if measure.low is None else measure.low),
                "high": rounded(measure.mean if measure.high is None else measure.high),
                "name": f"{site.label(entry)} {mark}".rstrip(),
                "short": "",
                "c": site.colour(entry.method),
                "front": best,
                "page": entry.page,
            }
        )
    _name_front(rows)
    return rows, unit


def _name_front(rows: list[dict[str, Any]]) -> None:
    """Label Pareto-optimal points, the best first, where no label covers another."""
    if not rows:
        return
    across = [math.log(row["x"]) for row in rows]
    left, width = min(across), max(across) - min(across) or 1.0
    height = max(row["high"] for row in rows) - min(row["low"] for row in rows) or 1.0
    taken: list[tuple[float, float, float]] = []
    front = sorted((n for n, row in enumerate(rows) if row["front"]), key=lambda n: -rows[n]["y"])
    for n in front:
        name = rows[n]["name"].rpartition("/")[2]
        x, y, length = (across[n] - left) / width, rows[n]["y"] / height, LETTER * len(name)
        start, end = (x, x + length) if x < 0.5 else (x - length, x)
        if all(end < a or start > b or abs(y - other) > LINE for a, b, other in taken):
            taken.append((start, end, y))
            rows[n]["short"] = name


def rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def specs() -> str:
    """Return the script that defines every specification: `window.PLOTS`."""
    return f"window.PLOTS={json.dumps(_compiled(), separators=(',', ':'), sort_keys=True)};\n"


@cache
def vega() -> str:
    """Return Vega and vega-embed as one script.

    Raises:
        MissingExtraError: the plotting libraries are not installed.
    """
    try:
        import vl_convert
    except ImportError:
        raise MissingExtraError("The site", "site") from None
    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")) + "\n"


@cache
def _compiled() -> dict[str, Any]:
    try:
        import altair as alt
        import vl_convert  # noqa: F401 - compiles
    except ImportError:
        raise MissingExtraError("The site", "site") from None
    kinds: dict[str, Callable[[Any], alt.TopLevelMixin]] = {
        "front": _front,
        "small": _small,
        "latency": _latency,
        "scatter": _scatter,
    }
    return {name: draw(alt).to_dict(format="vega") for name, draw in kinds.items()}


def _points(alt: Any, ticks: int = 5) -> tuple[Any, Any]:
    """Points with their intervals, and the line of the Pareto-optimal ones."""
    x = alt.X("x:Q").scale(type="log", nice=False, padding=14).title("$x")
    x = x.axis(grid=False, format=",.3~r", tickCount=5, labelOverlap="greedy", labelSeparation=6)
    y = alt.Y("y:Q").scale(zero=False, padding=12).title(None).axis(format=".2~f", tickCount=ticks)
    colour = alt.Color("c:O").scale(domain=list(range(COLOURS)), range="category").legend(None)
    base = alt.Chart(alt.NamedData("rows")).encode(x=x)
    front = (
        base.mark_line(interpolate="step-after", color="$faint", strokeDash=[4, 3], strokeWidth=1.5)
        .transform_filter("datum.front")
        .encode(y=y)
    )
    bars = base.mark_rule(strokeWidth=1.2).encode(
        opacity=_dimmed(alt, 0.45), y=alt.Y("low:Q").title(None), y2="high:Q", color=colour
    )
    points = base.mark_point(filled=True, cursor="pointer").encode(
        opacity=_dimmed(alt, 1.0),
        y=y,
        color=colour,
        size=alt.condition("datum.front", alt.value(70), alt.value(34)),
        tooltip=alt.value("$tooltip"),
        href="page:N",
    )
    return x, front + bars + points


def _dimmed(alt: Any, opacity: float, off: float = 0.08) -> Any:
    """Points that the filters of the page exclude stay in place, faintly; axes do not change."""
    return alt.condition("datum.off", alt.value(off), alt.value(opacity))


def _front(alt: Any) -> Any:
    x, points = _points(alt)
    # Names stand on the side where there is room for them.
    left = "scale('x', datum.x) < width / 2"
    names = alt.Chart(alt.NamedData("rows")).transform_filter("datum.front")
    names = names.mark_text(
        align=alt.ExprRef(f"{left} ? 'left' : 'right'"),
        dx=alt.ExprRef(f"{left} ? 7 : -7"),
        baseline="bottom",
        dy=-5,
        fontSize=11,
        color="$ink",
        limit=150,
    ).encode(x=x, y="y:Q", text="short:N", opacity=_dimmed(alt, 1.0, 0.0))
    return (points + names).properties(width="container", height=260)


def _small(alt: Any) -> Any:
    return _points(alt, ticks=3)[1].properties(width="container", height=130)


def _latency(alt: Any) -> Any:
    """Histogram of latencies, with the percentiles of the record."""
    x = alt.X("ms:Q").bin(maxbins=48).scale(zero=False, nice=False)
    x = x.title("encoding and search of one query, ms").axis(format="~g", grid=False, tickCount=6)
    y = alt.Y("count()").title("queries").axis(tickCount=4)
    bars = alt.Chart(alt.NamedData("rows")).mark_bar(color="$accent", binSpacing=1)
    rules = alt.Chart(alt.NamedData("marks")).encode(x=alt.X("ms:Q"))
    lines = rules.mark_rule(color="$ink", strokeDash=[3, 3])
    names = rules.mark_text(align="left", dx=4, y=2, baseline="top", color="$ink", fontSize=11)
    shown = bars.encode(x=x, y=y) + lines + names.encode(text="name:N")
    return shown.properties(width="container", height=170)


def _scatter(alt: Any) -> Any:
    """One point per pair of values, with an area for the number of its queries."""
    axis = {"format": ".1f", "tickCount": 5}
    x = alt.X("x:Q").scale(padding=6).title("$x").axis(**axis)
    y = alt.Y("y:Q").scale(padding=6).title("$y").axis(**axis)
    size = alt.Size("n:Q").scale(type="sqrt", range=[18, 420]).legend(None)
    colour = alt.Color("side:N").scale(
        domain=["of", "tie", "than"], range=["$accent", "$faint", "$warm"]
    )
    points = alt.Chart(alt.NamedData("rows")).mark_circle(opacity=0.6)
    points = points.encode(
        x=x, y=y, size=size, color=colour.legend(None), tooltip=alt.value("$tooltip")
    )
    ends = alt.Chart(alt.NamedData("diagonal")).mark_line(color="$faint", strokeDash=[4, 3])
    return (ends.encode(x="x:Q", y="y:Q") + points).properties(width="container", height=380)
