"""The page of a plan: a forecast of every cell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rankstone.leaderboards.document import Cell, Page, table
from rankstone.leaderboards.numbers import UNKNOWN, memory_unit, significant
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
"""Heading -> figure of a forecast."""


def page(cells: Sequence[Planned]) -> Page:
    """Return a row for each cell, the sum of the times, and what stands against a run."""
    rows = [[cell.method, cell.task, *figures(cell.forecast), cell.state] for cell in cells]
    heads = ("method", "task", *COLUMNS, "run")
    return Page(
        title="plan",
        blocks=(table(heads, rows, figures=tuple(COLUMNS), notes=list(_notes(cells))),),
        body=[cell.model_dump(mode="json") for cell in cells],
        fields=("method", "task", "state", *COLUMNS.values(), "faults"),
        rows=tuple(
            {
                "method": cell.method, "task": cell.task, "state": cell.state,
                **{name: cell.forecast[name] for name in COLUMNS.values()},
                "faults": "; ".join(cell.faults),
            }
            for cell in cells
        ),
    )  # fmt: skip


def figures(found: Forecast) -> Iterator[Cell]:
    """Yield the figures of a forecast."""
    for name in COLUMNS.values():
        value = found[name]
        yield Cell(text=UNKNOWN if value is None else _text(name, value), value=value)


def _text(name: str, value: float) -> str:
    if name == "seconds":
        return duration(value)
    if name == "usd":
        return f"${significant(value)}"
    return f"{value:.0%}" if name == "cached" else size_text(value)


def size_text(size: float) -> str:
    """Return bytes in MiB, or in GiB from 10 GiB on."""
    unit, divisor = memory_unit([size])
    return f"{significant(size / divisor)} {unit}"


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
