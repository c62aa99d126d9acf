"""Comparison of forecasts with measured costs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from rankstone.leaderboards.forecasts.plan_page import text_of
from rankstone.leaderboards.numbers import UNKNOWN, significant
from rankstone.results.record import RunRecord

OUTCOME = ("cost", "forecast", "outcome", "ratio")


class Compared(NamedTuple):
    """Forecast and measured value of a cost; None means unknown."""

    cost: str
    forecast: float | None
    outcome: float | None

    @property
    def ratio(self) -> float | None:
        """Forecast divided by outcome."""
        return self.forecast / self.outcome if self.forecast and self.outcome else None


def compared(record: RunRecord) -> Iterator[Compared]:
    """Yield the costs of a record that has a forecast."""
    expected, profile = record.forecast, record.profile
    if expected is None or profile is None:
        return
    index = profile.index
    paid = [phase.usd for phase in profile.phases.values() if phase.usd is not None]
    wall_s = profile.wall_s if profile.load is None else None  # trials under load are not forecast
    yield Compared("time", expected.seconds, wall_s)
    yield Compared("peak memory", expected.peak_rss_bytes, profile.peak_rss_bytes)
    yield Compared("index", expected.index_bytes, index.memory_bytes if index else None)
    yield Compared("price", expected.usd, sum(paid) if paid else None)


def outcome_rows(record: RunRecord) -> list[tuple[str, ...]]:
    """Return the known costs as text."""
    return [
        (
            row.cost,
            text_of(row.cost, row.forecast),
            UNKNOWN if row.outcome is None else text_of(row.cost, row.outcome),
            significant(row.ratio),
        )
        for row in compared(record)
        if row.forecast is not None
    ]
