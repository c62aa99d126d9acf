"""Page of means over a suite."""

from __future__ import annotations

import pandas as pd

from rankstone.leaderboards.document import Page, Paragraph, table
from rankstone.leaderboards.frame import framed
from rankstone.leaderboards.labels import label_notes, row_names
from rankstone.leaderboards.numbers import quality
from rankstone.leaderboards.suites import COLUMNS


def page(frame: pd.DataFrame) -> Page:
    """Return the table of a frame by `rankstone.leaderboards.suites.suite_means`."""
    measures = [name for name in frame.columns if name not in COLUMNS]
    names = row_names(list(frame["method"]), list(frame["label"]))
    rows = [
        (
            name or row["method"],
            *(quality(row[name]) for name in measures),
            f"{row['tasks']} of {row['of']}",
            row["missing"],
        )
        for name, (_, row) in zip(names, frame.iterrows(), strict=True)
    ]
    heads, notes = ("method", *measures, "tasks", "missing"), label_notes(frame["method"], names)
    means = table(heads, rows, figures=(*measures, "tasks"), notes=notes)
    empty = Paragraph("No records. (rankstone run METHOD --on SUITE)")
    return framed((means if rows else empty,), frame)
