"""Pictures of records, as SVG; they need the extra `site`."""

from __future__ import annotations

import importlib.util
import math
import re
from collections.abc import Sequence
from typing import Any

from rankstone.results.record import RunRecord

NEEDED = ("altair", "vl_convert")


def can_plot() -> bool:
    """Whether what draws is installed."""
    return all(importlib.util.find_spec(name) is not None for name in NEEDED)


def quality_against_cost(records: Sequence[RunRecord]) -> str:
    """The headline of one task against p95 latency on a logarithmic axis, with intervals, as SVG.

    Empty where fewer than two records have both, or nothing is installed that draws. Methods that
    no other beats in both stand on the line.
    """
    points = [point for record in records if (point := _point(record)) is not None]
    if len(points) < 2 or not can_plot():
        return ""
    import altair
    import vl_convert

    front_of = pareto([(point["latency"], point["quality"]) for point in points])
    for point, stands in zip(points, front_of, strict=True):
        point["front"] = stands
    data = altair.InlineData(values=points)
    x = altair.X("latency:Q", title="p95 latency, ms").scale(type="log")
    y = altair.Y("quality:Q", title=points[0]["measure"]).scale(zero=False)
    base = altair.Chart(data).encode(x=x)
    front = base.transform_filter("datum.front").mark_line(color="#888", strokeDash=[4, 3])
    bars = base.transform_filter("isValid(datum.low)").mark_rule(color="#4c78a8")
    bars = bars.encode(y=altair.Y("low:Q", title=points[0]["measure"]), y2="high:Q")
    dots = base.mark_point(filled=True, size=70, color="#4c78a8").encode(y=y)
    names = base.mark_text(align="left", dx=8, dy=-6).encode(y=y, text="method:N")
    chart = (front.encode(y=y) + bars + dots + names).properties(width=560, height=320)
    svg: str = vl_convert.vegalite_to_svg(chart.to_json())
    return re.sub(r"<\?xml[^>]*>", "", svg)


def _point(record: RunRecord) -> dict[str, Any] | None:
    headline = record.measures.get(record.task.headline)
    latency = record.profile.latency if record.profile else None
    if headline is None or latency is None:
        return None
    return {
        "method": record.method.name,
        "measure": record.task.headline,
        "quality": headline.mean,
        "low": headline.low,
        "high": headline.high,
        "latency": latency.total.p95_ms,
        "front": False,
    }


def pareto(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Of (cost, quality): whether no other point costs at most as much and is at least as good,
    and better in one of the two."""
    best, front = -math.inf, [False] * len(points)
    order = sorted(range(len(points)), key=lambda n: (points[n][0], -points[n][1]))
    last: tuple[float, float] | None = None
    for n in order:
        if points[n][1] > best or points[n] == last:
            front[n], best, last = True, points[n][1], points[n]
    return front
