"""The page of means over a suite."""

from __future__ import annotations

import pandas as pd

from rankstone.leaderboards.document import Cell, Column, Page, Paragraph, Table
from rankstone.leaderboards.frame import of_frame
from rankstone.leaderboards.numbers import quality
from rankstone.leaderboards.suites import COLUMNS


def page(frame: pd.DataFrame) -> Page:
    """The table of the frame of `rankstone.leaderboards.suites.suite_means`."""
    measures = [name for name in frame.columns if name not in COLUMNS]
    columns = (
        Column(heading=("method",), left=True, wrap=True),
        *(Column(heading=(name,)) for name in (*measures, "tasks")),
        Column(heading=("missing",), left=True, wrap=True),
    )
    rows = tuple(
        (
            Cell(text=row["method"]),
            *(Cell(text=quality(row[name])) for name in measures),
            Cell(text=f"{row['tasks']} of {row['of']}"),
            Cell(text=row["missing"]),
        )
        for _, row in frame.iterrows()
    )
    table = Table(columns=columns, rows=rows)
    empty = Paragraph("No records. (rankstone run METHOD --on SUITE)")
    return Page(blocks=(table if rows else empty,), **of_frame(frame))
