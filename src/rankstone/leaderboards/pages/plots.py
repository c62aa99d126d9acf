"""Pictures of records, as SVG; they need the extra `site`."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rankstone.leaderboards.costs import BY_NAME, conditions, mark_of, pareto_optimal
from rankstone.results.record import RunRecord

if TYPE_CHECKING:
    from altair import LayerChart

NEEDED = ("altair", "vl_convert")
LATENCY = BY_NAME["p95 latency"]


def can_plot() -> bool:
    """Return if the drawing libraries are installed."""
    return all(importlib.util.find_spec(name) is not None for name in NEEDED)


def quality_against_cost(records: Sequence[RunRecord]) -> str:
    """The `chart` of the records of one task as SVG.

    Empty where fewer than two records have both figures, or nothing is installed that draws.
    """
    drawn = chart(records) if can_plot() else None
    if drawn is None:
        return ""
    import vl_convert

    svg: str = vl_convert.vegalite_to_svg(drawn.to_json())
    return re.sub(r"<\?xml[^>]*>", "", svg)


def chart(records: Sequence[RunRecord]) -> LayerChart | None:
    """The headline of one task against p95 latency on a logarithmic axis, with intervals.

    None where fewer than two records have both. A line joins the Pareto-optimal methods of each
    machine and number of threads.
    """
    optimal = pareto_optimal(LATENCY, records)
    points = [
        point
        for record, stands in zip(records, optimal, strict=True)
        if (point := _point(record, stands)) is not None
    ]
    if len(points) < 2:
        return None
    import altair

    data = altair.InlineData(values=points)
    x = altair.X("latency:Q", title="p95 latency, ms").scale(type="log")
    y = altair.Y("quality:Q", title=points[0]["measure"]).scale(zero=False)
    base = altair.Chart(data).encode(x=x)
    front = base.transform_filter("datum.optimal").mark_line(color="#888", strokeDash=[4, 3])
    front = front.encode(y=y, detail="conditions:N")
    bars = base.transform_filter("isValid(datum.low)").mark_rule(color="#4c78a8")
    bars = bars.encode(y=altair.Y("low:Q", title=points[0]["measure"]), y2="high:Q")
    dots = base.mark_point(filled=True, size=70, color="#4c78a8").encode(y=y)
    names = base.mark_text(align="left", dx=8, dy=-6).encode(y=y, text="method:N")
    drawn: LayerChart = (front + bars + dots + names).properties(width=560, height=320)
    return drawn


def _point(record: RunRecord, optimal: bool) -> dict[str, Any] | None:
    headline, latency = record.headline, LATENCY.of(record)
    if headline is None or latency is None:
        return None
    return {
        "method": record.method.name + mark_of(LATENCY, record),
        "measure": record.task.headline,
        "quality": headline.mean,
        "low": headline.low,
        "high": headline.high,
        "latency": latency,
        "optimal": optimal,
        "conditions": str(conditions(record)),
    }
