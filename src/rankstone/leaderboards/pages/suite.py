"""The page of means over a suite."""

from __future__ import annotations

import pandas as pd

from rankstone.leaderboards.document import Page, Paragraph, table
from rankstone.leaderboards.frame import framed
from rankstone.leaderboards.numbers import quality
from rankstone.leaderboards.suites import COLUMNS


def page(frame: pd.DataFrame) -> Page:
    """The table of the frame of `rankstone.leaderboards.suites.suite_means`."""
    measures = [name for name in frame.columns if name not in COLUMNS]
    rows = [
        (
            row["method"],
            *(quality(row[name]) for name in measures),
            f"{row['tasks']} of {row['of']}",
            row["missing"],
        )
        for _, row in frame.iterrows()
    ]
    means = table(("method", *measures, "tasks", "missing"), rows, figures=(*measures, "tasks"))
    empty = Paragraph("No records. (rankstone run METHOD --on SUITE)")
    return framed((means if rows else empty,), frame)
