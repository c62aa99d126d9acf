"""Points of quality against a cost, for the plots of the site."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rankstone.files import GIB, MIB
from rankstone.leaderboards.costs import Cost, pareto
from rankstone.leaderboards.labels import plot_names
from rankstone.leaderboards.numbers import flagged, interval, quality
from rankstone.leaderboards.site.model import Site
from rankstone.leaderboards.site.vega import PADDING, SIZES, rounded
from rankstone.leaderboards.site.views import Ranked, View

COSTS = {
    "p95 latency": "p95 latency",
    "peak RSS": "peak memory",
    "index": "index in memory",
    "bytes/doc": "index, bytes per document",
    "API price": "price of the API",
}
"""Cost on the horizontal axis -> axis title."""
LETTER, HEIGHT = 6.4, 13
"""Average width of a letter, estimated high, and height of a label, in pixels."""
Box = tuple[float, float, float, float]


def front_rows(
    site: Site, view: View, ranked: Sequence[Ranked], cost: Cost, kind: str = "front"
) -> tuple[list[dict[str, Any]], str]:
    """Return points of quality against `cost`, Pareto-optimal ones marked, and the cost's unit.

    Methods whose cost is unknown or zero (the axis is logarithmic) are left out.

    Args:
        ranked: Methods whose costs are comparable.
    """
    known = [(row, value) for row in ranked if (value := row.cost(cost)) and value > 0]
    unit, size = cost.unit, 1
    if unit == "bytes":
        unit, size = ("GiB", GIB) if min((v for _, v in known), default=0) >= GIB else ("MiB", MIB)
    sign = -1 if cost.higher_is_better else 1
    able = [(row, (sign * value, row.mean)) for row, value in known if row.competes(cost)]
    optimal = dict(zip((id(row) for row, _ in able), pareto([p for _, p in able]), strict=True))
    rows, names = [], plot_names([row.entry.record for row, _ in known])
    for (row, value), name in zip(known, names, strict=True):
        step = site.sweeps.get(row.entry.method)
        best, known_ends = optimal.get(id(row), False), math.isfinite(row.low)
        rows.append(
            {
                "x": rounded(value / size),
                "y": rounded(row.mean),
                "low": rounded(row.low if known_ends else row.mean),
                "high": rounded(row.high if known_ends else row.mean),
                "name": name,
                "text": _text(site, view, row, cost, value / size, unit, best),
                "c": site.colour(row.entry.method),
                "front": best,
                "able": row.competes(cost),
                "curve": step.curve if step else "",
                "step": step.value if step else 0,
                "page": row.page,
                "key": row.entry.page,
                "short": "",
            }
        )
    if kind != "small":
        place_names(rows, *SIZES[kind])
    return rows, unit


def _text(
    site: Site, view: View, row: Ranked, cost: Cost, value: float, unit: str, best: bool
) -> str:
    ends = f" ({interval(row.low, row.high)})" if math.isfinite(row.low) else ""
    step = site.sweeps.get(row.entry.method)
    parts = [
        f"{view.measure} {quality(row.mean)}{ends}",
        f"{COSTS[cost.name]} {flagged(value, row.mark(cost))} {unit}".rstrip(),
        f"{step.parameter} = {step.value:g}" if step else "",
        "Pareto-optimal" if best else "",
    ]
    return f"{site.label(row.entry)}: {', '.join(part for part in parts if part)}"


def place_names(rows: Sequence[dict[str, Any]], width: float, height: float) -> None:
    """Label Pareto-optimal points, best first, such that labels do not overlap and cover few
    points."""
    at = _pixels(rows, width, height)
    points = [(x - 5, y - 5, x + 5, y + 5) for x, y in at]
    taken = list[Box]()
    for n in sorted((n for n, row in enumerate(rows) if row["front"]), key=lambda n: -rows[n]["y"]):
        options = list[tuple[int, int, Box, str, int, int]]()
        for align, dx, dy in _OFFSETS:
            box = _box(at[n], align, dx, dy, LETTER * len(rows[n]["name"]))
            if box[0] >= 0 and box[2] <= width and not any(_meet(box, other) for other in taken):
                covered = sum(_meet(box, p) for m, p in enumerate(points) if m != n)
                options.append((covered, len(options), box, align, dx, dy))
        if options and min(options)[0] <= 2:
            _, _, box, align, dx, dy = min(options)
            taken.append(box)
            rows[n] |= {"short": rows[n]["name"], "align": align, "dx": dx, "dy": dy}


_OFFSETS = [
    (align, sign * dx, dy)
    for dx, dy in ((8, -8), (9, 0), (8, 9), (6, -18), (6, 18))
    for align, sign in (("left", 1), ("right", -1))
]
"""Alignment of a label, and its offset from the point."""


def _box(at: tuple[float, float], align: str, dx: float, dy: float, length: float) -> Box:
    left = at[0] + dx - (length if align == "right" else 0)
    middle = at[1] + dy
    return left, middle - HEIGHT / 2, left + length, middle + HEIGHT / 2


def _meet(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _pixels(
    rows: Sequence[dict[str, Any]], width: float, height: float
) -> list[tuple[float, float]]:
    """Return the positions of the points inside the axes, in pixels."""
    if not rows:
        return []
    across = [math.log(row["x"]) for row in rows]
    low, high = min(row["low"] for row in rows), max(row["high"] for row in rows)
    wide, tall = max(across) - min(across) or 1.0, high - low or 1.0
    return [
        (
            PADDING + (x - min(across)) / wide * (width - 2 * PADDING),
            height - PADDING - (row["y"] - low) / tall * (height - 2 * PADDING),
        )
        for x, row in zip(across, rows, strict=True)
    ]
