"""Page of a plan: a forecast for every cell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rankstone.leaderboards.document import Cell, Page, table
from rankstone.leaderboards.numbers import UNKNOWN, bytes_text, significant
from rankstone.progress import duration
from rankstone.results.record import Forecast, Planned

COLUMNS = {
    "time": "seconds",
    "peak memory": "peak_rss_bytes",
    "index": "index_bytes",
    "disk": "disk_bytes",
    "in cache": "cached",
    "price": "usd",
}
"""Heading -> field of a forecast."""
MINUTE = 60.0
"""Times from this number of seconds are shown in minutes and hours."""


def page(cells: Sequence[Planned]) -> Page:
    """Return a row for each cell, the total time, and faults that prevent a run."""
    shown = [h for h, name in COLUMNS.items() if any(c.forecast[name] is not None for c in cells)]
    states = ["run"] if {cell.state for cell in cells} - {"runs"} else []
    rows: list[list[str | Cell]] = [
        [cell.method, cell.task, *figures(cell.forecast, shown), *(cell.state for _ in states)]
        for cell in cells
    ]
    heads = ("method", "task", *shown, *states)
    return Page(
        title="plan",
        blocks=(table(heads, rows, figures=shown, notes=list(_notes(cells))),),
        body=[cell.model_dump(mode="json") for cell in cells],
        fields=("method", "task", "state", *COLUMNS.values(), "faults"),
        rows=tuple(
            {
                "method": cell.method,
                "task": cell.task,
                "state": cell.state,
                **{name: cell.forecast[name] for name in COLUMNS.values()},
                "faults": "; ".join(cell.faults),
            }
            for cell in cells
        ),
    )


def figures(found: Forecast, headings: Sequence[str]) -> Iterator[Cell]:
    """Yield the figures of a forecast for the `headings`."""
    for heading in headings:
        value = found[COLUMNS[heading]]
        yield Cell(text=UNKNOWN if value is None else text_of(heading, value), value=value)


def text_of(heading: str, value: float) -> str:
    """Return a figure of the column `heading` with its unit."""
    if heading == "time":
        return duration(value) if value >= MINUTE else f"{significant(value)} s"
    if heading == "price":
        return f"${significant(value)}"
    if heading == "in cache":
        return f"{value:.0%}"
    return bytes_text(value)


def _notes(cells: Sequence[Planned]) -> Iterable[str]:
    known = [cell.forecast.seconds for cell in cells if cell.forecast.seconds is not None]
    if len(cells) > 1 and known:
        missing = len(cells) - len(known)
        without = f", without {missing} whose time is unknown" if missing else ""
        yield f"{duration(sum(known))} in all, one cell after another{without}"
    tokens = sum(cell.forecast.billed_tokens or 0 for cell in cells)
    if tokens:
        yield f"{tokens:,} input tokens of APIs"
    faults = (f"{cell.method} on {cell.task}: {fault}" for cell in cells for fault in cell.faults)
    notes = (note for cell in cells for note in cell.forecast.notes)
    yield from dict.fromkeys([*faults, *notes])
