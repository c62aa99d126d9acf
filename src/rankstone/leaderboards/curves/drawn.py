"""Curves as SVG for pages of any format; needs the extra `site`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rankstone.errors import installed
from rankstone.leaderboards.curves.curves import Curves, Kind, names_of
from rankstone.leaderboards.document import Picture

if TYPE_CHECKING:
    from altair import LayerChart

NEEDED = ("altair", "vl_convert")
COLOURS = ("#2563eb", "#c2410c", "#4d7c0f", "#a21caf", "#0e7490", "#7c2d12",
           "#15803d", "#be185d", "#475569", "#b91c1c", "#a16207", "#6d28d9")  # fmt: skip
"""Colours of the site's light theme."""
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")
WIDTH, HEIGHT = 330, 230
"""Pixels inside the axes."""
PADDING = 12


def can_plot() -> bool:
    """Return True if the drawing libraries are installed."""
    return installed(*NEEDED)


def pictures(drawn: Iterable[Curves], name: str, caption: str) -> Iterator[Picture]:
    """Yield one picture of all plots, two per row, with one legend; nothing without plots."""
    plots = list(drawn) if can_plot() else []
    if not plots:
        return
    import altair as alt
    import vl_convert

    names = names_of(plots)
    charts = [_chart(alt, one, names) for one in plots]
    both = alt.concat(*charts, columns=2).resolve_scale(color="shared", shape="shared")
    svg = str(vl_convert.vegalite_to_svg(both.to_json()))
    yield Picture(f"{name}.svg", re.sub(r"<\?xml[^>]*>", "", svg), caption)


def _chart(alt: Any, one: Curves, names: Sequence[str]) -> LayerChart:
    n = range(len(names))
    colour = alt.Color("name:N", title=None).scale(
        domain=list(names), range=[COLOURS[i % len(COLOURS)] for i in n]
    )
    shape = alt.Shape("name:N", title=None).scale(
        domain=list(names), range=[SHAPES[(i + i // len(COLOURS)) % len(SHAPES)] for i in n]
    )
    data = alt.InlineData(values=one.rows(names))
    legend = alt.Legend(orient="bottom", columns=3, labelLimit=240, columnPadding=40)
    drawn: LayerChart = layers(
        alt, data, one.kind, one.x, one.y, colour.legend(legend), shape.legend(legend)
    ).properties(width=WIDTH, height=HEIGHT)
    return drawn


def layers(alt: Any, data: Any, kind: Kind, x: str, y: str, colour: Any, shape: Any) -> Any:
    """Return the lines and points of one plot."""
    sides: dict[bool, dict[str, Any]] = {True: {"type": "log"}, False: {"zero": False}}
    across = alt.X("x:Q").scale(**sides[kind == "load"], nice=False, padding=PADDING).title(x)
    up = alt.Y("y:Q").scale(**sides[kind != "exact-quality"], nice=False, padding=PADDING).title(y)
    numbers = {"format": ",.3~r", "tickCount": 5, "labelOverlap": "greedy"}
    across, up = across.axis(grid=False, **numbers), up.axis(**numbers)
    base = alt.Chart(data).encode(x=across, y=up, color=colour)
    dashes = alt.StrokeDash("style:N").legend(None)
    dashes = dashes.scale(domain=["solid", "dashed"], range=[[1, 0], [4, 3]])
    lines = base.mark_line(strokeWidth=1.6, aria=False)
    lines = lines.encode(detail=["line:N"], order="step:Q", strokeDash=dashes)
    points = base.mark_point(filled=True, opacity=1, size=46)
    return lines + points.encode(shape=shape, description="text:N")
