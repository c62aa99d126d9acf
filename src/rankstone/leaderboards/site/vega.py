"""Plots: one Vega specification per kind for the whole site, and the data of each plot.

The specifications are written with Altair and compiled here, so that pages need only Vega, not
Vega-Lite. Plots of quality against cost are embedded as SVG whose points are links; `site.js`
redraws them when a filter changes their data, and draws the other kinds when they scroll into view.
Colours refer to the stylesheet (`var(--ink)`), so that one plot fits both themes.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import TYPE_CHECKING, Any, get_args

from rankstone.errors import require
from rankstone.leaderboards.curves.curves import Curves, Kind, names_of
from rankstone.leaderboards.curves.drawn import NEEDED, SHAPES, layers
from rankstone.leaderboards.site.model import COLOURS

if TYPE_CHECKING:
    import altair as alt

DIGITS = 5
"""Significant digits of plotted values, more than a screen resolves."""
CURVES: tuple[Kind, ...] = get_args(Kind)
"""Kinds of curve plots."""
SIZES = {"front": (350, 250), "home": (400, 380), "small": (230, 130),
         "trend": (330, 170), "load": (350, 240), "exact": (350, 240),
         "exact-quality": (350, 240)}  # fmt: skip
"""Kind -> width and height inside the axes, for kinds embedded as SVG."""
PADDING = 14
"""Pixels between the axes and the nearest point."""
_BASE = "https://vega.github.io/vega-datasets/"
"""Base URL of relative links in the output of vl-convert."""
_FONT = "system-ui, sans-serif"
_CONFIG = {
    "background": "transparent",
    "axis": {
        "labelColor": "var(--dim)", "titleColor": "var(--dim)", "gridColor": "var(--line)",
        "domainColor": "var(--faint)", "tickColor": "var(--faint)", "labelFont": _FONT,
        "titleFont": _FONT, "labelFontSize": 11, "titleFontSize": 12, "titleFontWeight": "normal",
        "titlePadding": 8,
    },
    "style": {"cell": {"stroke": None}, "text": {"font": _FONT}},
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Plot:
    """Plot, embedded as SVG or drawn by `site.js`."""

    kind: str
    """Key of `specs()`."""
    rows: Any
    """JSON data: rows, or several tables of rows by name."""
    label: str
    """Text alternative for screen readers."""
    words: Mapping[str, str] = field(default_factory=dict)
    """Replacements of `$<key>` in the specification."""
    caption: str = ""
    environment: str = ""
    """Hardware of the records, if another plot shows the same cost on other hardware."""
    cost: str = ""
    """Cost on the horizontal axis, by which the start page selects a plot."""

    def svg(self, root: str) -> str:
        """Return the SVG for a page with links relative to `root`; empty for kinds not embedded."""
        return svg(self.kind, self.rows, self.words, root) if self.kind in SIZES else ""


@dataclass(frozen=True, kw_only=True)
class Plotted:
    """Plots of curves with a common legend."""

    plots: tuple[Plot, ...]
    legend: tuple[tuple[str, int], ...]
    """Names and their colour numbers."""


def plotted(curves: Iterable[Curves]) -> Plotted:
    """Return the plots of curves."""
    drawn = list(curves)
    names = names_of(drawn)
    return Plotted(
        plots=tuple(
            Plot(
                kind=one.kind,
                rows=[{**row, "c": row["c"] % COLOURS} for row in one.rows(names)],
                label=one.label,
                words={"x": one.x, "y": one.y},
            )
            for one in drawn
        ),
        legend=tuple((name, n % COLOURS) for n, name in enumerate(names)),
    )


def svg(kind: str, rows: Sequence[Mapping[str, Any]], words: Mapping[str, str], root: str) -> str:
    """Return the plot of `rows` as SVG with escaped texts."""
    import vl_convert

    texts = {f"${key}": text for key, text in words.items()}
    spec = _put(copy.deepcopy(_compiled()[kind]), texts)
    for table in spec["data"]:
        if table["name"] == "rows":
            table["values"] = list(rows)
    return str(vl_convert.vega_to_svg(spec)).replace(f'href="{_BASE}', f'href="{root}')


def _put(value: Any, texts: Mapping[str, str]) -> Any:
    """Replace whole strings, in the same way as `site.js`."""
    if isinstance(value, str):
        return texts.get(value, value)
    if isinstance(value, list):
        return [_put(part, texts) for part in value]
    if isinstance(value, dict):
        return {key: _put(part, texts) for key, part in value.items()}
    return value


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
    require("The site", "site", *NEEDED)
    import vl_convert

    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")) + "\n"


@cache
def _compiled() -> dict[str, Any]:
    require("The site", "site", *NEEDED)
    import altair as alt

    kinds: dict[str, Callable[[Any], alt.TopLevelMixin]] = {
        "front": lambda alt: _named(alt, "front"),
        "home": lambda alt: _named(alt, "home"),
        "small": _small,
        "latency": _latency,
        "scatter": _scatter,
        "trend": _trend,
        **{kind: partial(_curves, kind=kind) for kind in CURVES},
    }
    return {
        name: {**draw(alt).to_dict(format="vega"), "config": _CONFIG, "background": None}
        for name, draw in kinds.items()
    }


def _points(alt: Any, kind: str, ticks: int = 5) -> tuple[Any, Any]:
    """Return points with intervals, sweeps as curves, and the line of Pareto-optimal points."""
    x = alt.X("x:Q").scale(type="log", nice=False, padding=PADDING).title("$x")
    x = x.axis(grid=False, format=",.3~r", tickCount=5, labelOverlap="greedy", labelSeparation=6)
    y = alt.Y("y:Q").scale(zero=False, nice=False, padding=PADDING).title("$y")
    y = y.axis(format=".3~f", tickCount=ticks)
    colour, shape = _colours(alt)
    base = alt.Chart(alt.NamedData("rows")).encode(x=x)
    line = {"color": "var(--faint)", "strokeDash": [4, 3], "strokeWidth": 1.5, "aria": False}
    front = base.mark_line(interpolate="step-after", **line).transform_filter("datum.front")
    curves = base.mark_line(strokeWidth=1.5, opacity=0.7, aria=False).transform_filter(
        "datum.curve"
    )
    curves = curves.encode(y=y, detail="curve:N", color=colour, order="step:Q")
    bars = base.mark_rule(strokeWidth=1.2, opacity=0.4, aria=False)
    bars = bars.encode(y=alt.Y("low:Q").title("$y"), y2="high:Q", color=colour)
    marks = base.mark_point(filled=True, opacity=1).encode(
        y=y,
        color=colour,
        shape=shape,
        size=alt.condition("datum.front", alt.value(80), alt.value(42)),
        description="text:N",
        href="page:N",
    )
    width, height = SIZES[kind]
    layers = (
        front.encode(y=y) + marks if kind == "small" else front.encode(y=y) + curves + bars + marks
    )
    return x, layers.properties(width=width, height=height)


def _colours(alt: Any) -> tuple[Any, Any]:
    """Return the scales of the stylesheet's colours and shapes, by number."""
    numbers = {"domain": list(range(COLOURS))}
    colour = alt.Color("c:O").legend(None)
    colour = colour.scale(range=[f"var(--k{n})" for n in range(COLOURS)], **numbers)
    shape = alt.Shape("c:O").legend(None)
    return colour, shape.scale(range=[SHAPES[n % len(SHAPES)] for n in range(COLOURS)], **numbers)


def _curves(alt: Any, kind: Kind) -> Any:
    """Return one curve per name, of load trials or of a grid."""
    width, height = SIZES[kind]
    drawn = layers(alt, alt.NamedData("rows"), kind, "$x", "$y", *_colours(alt))
    return drawn.properties(width=width, height=height)


def _named(alt: Any, kind: str) -> Any:
    """Return the points, with the labels of Pareto-optimal ones that `place_names` placed."""
    x, points = _points(alt, kind)
    names = alt.Chart(alt.NamedData("rows")).transform_filter("datum.short")
    names = names.mark_text(
        align=alt.ExprRef("datum.align"), dx=alt.ExprRef("datum.dx"), dy=alt.ExprRef("datum.dy"),
        baseline="middle", fontSize=11, color="var(--ink)", aria=False,
    ).encode(x=x, y="y:Q", text="short:N")  # fmt: skip
    return points + names


def _small(alt: Any) -> Any:
    return _points(alt, "small", ticks=3)[1]


def _latency(alt: Any) -> Any:
    """Return a histogram of latencies with the record's percentiles."""
    x = alt.X("ms:Q").bin(maxbins=48).scale(zero=False, nice=False)
    x = x.title("encoding and search of one query, ms").axis(format="~g", grid=False, tickCount=6)
    y = alt.Y("count()").title("queries").axis(tickCount=4)
    bars = alt.Chart(alt.NamedData("rows")).mark_bar(color="var(--accent)", binSpacing=1)
    rules = alt.Chart(alt.NamedData("marks")).encode(x=alt.X("ms:Q"))
    lines = rules.mark_rule(color="var(--ink)", strokeDash=[3, 3])
    names = rules.mark_text(
        align="left", dx=4, y=2, baseline="top", color="var(--ink)", fontSize=11
    )
    shown = bars.encode(x=x, y=y) + lines + names.encode(text="name:N")
    return shown.properties(width=640, height=170)


_QUERIES = (
    "format(datum.y, '.3f') + ' against ' + format(datum.x, '.3f') + ': ' + join(datum.ids, ', ')"
    " + (datum.n > length(datum.ids) ? ' and ' + (datum.n - length(datum.ids)) + ' more' : '')"
)
"""Tooltip of a point with several queries."""


def _scatter(alt: Any) -> Any:
    """Return one point per pair of values; its area shows the number of queries."""
    axis = {"format": ".1f", "tickCount": 5}
    x = alt.X("x:Q").scale(padding=6).title("$x").axis(**axis)
    y = alt.Y("y:Q").scale(padding=6).title("$y").axis(**axis)
    size = alt.Size("n:Q").scale(type="sqrt", range=[18, 420]).legend(None)
    colour = alt.Color("side:N").scale(
        domain=["of", "tie", "than"], range=["var(--accent)", "var(--faint)", "var(--warm)"]
    )
    points = alt.Chart(alt.NamedData("rows")).transform_calculate(text=_QUERIES)
    points = points.mark_circle(opacity=0.6)
    points = points.encode(x=x, y=y, size=size, color=colour.legend(None), description="text:N")
    ends = alt.Chart(alt.NamedData("diagonal")).mark_line(color="var(--faint)", strokeDash=[4, 3])
    return (ends.encode(x="x:Q", y="y:Q") + points).properties(width=500, height=380)


def _trend(alt: Any) -> Any:
    """Return a figure with its intervals, record by record."""
    x = alt.X("at:O").sort(None).title(None).axis(labelAngle=0, labelOverlap=True, grid=False)
    y = alt.Y("value:Q").scale(zero=False, padding=12).title(None).axis(format=",.4~r", tickCount=4)
    base = alt.Chart(alt.NamedData("rows")).encode(x=x)
    line = base.mark_line(color="var(--faint)", strokeWidth=1.5).encode(y=y)
    bars = base.mark_rule(color="var(--accent)", strokeWidth=1.5, opacity=0.6)
    points = base.mark_point(filled=True, size=50, color="var(--accent)").encode(y=y)
    ends = bars.encode(y=alt.Y("low:Q").title(None), y2="high:Q")
    width, height = SIZES["trend"]
    return (line + ends + points).properties(width=width, height=height)
