"""Plots of records as SVG; needs the extra `site`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rankstone.errors import ResultsError, require
from rankstone.leaderboards.compare import other_data
from rankstone.leaderboards.costs import (
    BY_NAME,
    Cost,
    comparable_group,
    mark_of,
    pareto_optimal,
)
from rankstone.leaderboards.curves.drawn import NEEDED, can_plot
from rankstone.leaderboards.document import Page, Picture
from rankstone.leaderboards.labels import plot_names
from rankstone.leaderboards.site.fronts import place_names
from rankstone.leaderboards.site.vega import PADDING
from rankstone.results.record import RunRecord

if TYPE_CHECKING:
    from altair import LayerChart

LATENCY = BY_NAME["p95 latency"]
NAMED = 10
"""Largest number of methods that are all named in a plot."""
WIDTH, HEIGHT = 560, 320
"""Pixels inside the axes."""


def page(records: Sequence[RunRecord], cost: Cost) -> Page:
    """Return a page with the plot of one task.

    Raises:
        MissingExtraError, ResultsError: nothing can be drawn.
    """
    require("A plot", "site", *NEEDED)
    tasks = list(dict.fromkeys(record.task.name for record in records))
    if len(tasks) != 1:
        raise ResultsError(f"A plot is of one task, not of {len(tasks)}. (--on TASK)")
    if not (svg := quality_against_cost(records, cost)):
        raise ResultsError(f"{tasks[0]}: a plot needs two records with {cost.name}.")
    name = f"{tasks[0]}-{cost.name}".replace("/", "-").replace(" ", "-")
    caption = f"{tasks[0]}: quality against {cost.name}, 95% intervals"
    return Page(blocks=(Picture(f"{name}.svg", svg, caption),))


def quality_against_cost(records: Sequence[RunRecord], cost: Cost = LATENCY) -> str:
    """Return the `chart` of the records of one task as SVG.

    Empty if fewer than two records have both figures, or the drawing libraries are missing.
    """
    drawn = chart(records, cost) if can_plot() else None
    if drawn is None:
        return ""
    import vl_convert

    svg: str = vl_convert.vegalite_to_svg(drawn.to_json())
    return re.sub(r"<\?xml[^>]*>", "", svg)


def chart(records: Sequence[RunRecord], cost: Cost = LATENCY) -> LayerChart | None:
    """Plot the headline of one task, with intervals, against a cost on a logarithmic axis.

    A line joins the Pareto-optimal methods of each machine and number of threads. If there are many
    methods, only these are named. Returns None if fewer than two records have both figures.

    Raises:
        ResultsError: the records are of different data.
    """
    if parts := other_data(record for record in records if _has(record, cost)):
        raise ResultsError(
            f"{records[0].task.name}: its records are of different data ({', '.join(parts)}), which"
            " no plot compares. Remove some: rankstone records rm"
        )
    points, unit = _points(records, cost)
    if len(points) < 2:
        return None
    import altair

    data = altair.InlineData(values=points)
    x = altair.X("x:Q", title=cost.in_words(unit))
    x = x.scale(type="log", padding=PADDING, nice=False)
    y = altair.Y("y:Q", title=points[0]["measure"]).scale(zero=False, padding=PADDING, nice=False)
    base = altair.Chart(data).encode(x=x)
    front = base.transform_filter("datum.optimal").mark_line(color="#888", strokeDash=[4, 3])
    front = front.encode(y=y, detail="conditions:N")
    bars = base.transform_filter("datum.low < datum.high").mark_rule(color="#4c78a8")
    bars = bars.encode(y=altair.Y("low:Q", title=points[0]["measure"]), y2="high:Q")
    dots = base.mark_point(filled=True, size=70, color="#4c78a8").encode(y=y)
    align, dx, dy = (altair.ExprRef(f"datum.{key}") for key in ("align", "dx", "dy"))
    names = base.transform_filter("datum.short")
    names = names.mark_text(baseline="middle", align=align, dx=dx, dy=dy).encode(
        y=y, text="short:N"
    )
    drawn: LayerChart = (front + bars + dots + names).properties(width=WIDTH, height=HEIGHT)
    return drawn


def _points(records: Sequence[RunRecord], cost: Cost) -> tuple[list[dict[str, Any]], str]:
    """Return the records with both figures as chart data, and the unit of the cost."""
    optimal = pareto_optimal(cost, records)
    known = [(r, stands) for r, stands in zip(records, optimal, strict=True) if _has(r, cost)]
    unit, values = cost.in_unit([cost.of(record) for record, _ in known])
    few = len(known) <= NAMED  # of many, last parts find room more often
    names = plot_names([record for record, _ in known], whole=few)
    points = [
        {**_quality(record), "x": value, "optimal": stands, "front": stands or few,
         "name": name + mark_of(cost, record), "method": record.method.name,
         "short": "", "conditions": str(comparable_group(cost, record))}
        for (record, stands), name, value in zip(known, names, values, strict=True)
    ]  # fmt: skip
    place_names(points, WIDTH, HEIGHT)
    return points, unit


def _quality(record: RunRecord) -> dict[str, Any]:
    found = record.headline
    if found is None:
        return {}
    low, high = (found.mean if end is None else end for end in (found.low, found.high))
    return {"measure": record.task.headline, "y": found.mean, "low": low, "high": high}


def _has(record: RunRecord, cost: Cost) -> bool:
    """Return True if the record can be drawn on a logarithmic axis."""
    return record.headline is not None and (cost.of(record) or 0) > 0
