"""Pages as comma-separated values: every figure at full precision, unknown empty."""

from __future__ import annotations

import csv
import io

from rankstone.leaderboards.document import Page
from rankstone.leaderboards.formats.json import values


def draw(page: Page) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    fields, rows = values(page)
    writer.writerow(fields)
    writer.writerows([["" if row.get(f) is None else row[f] for f in fields] for row in rows])
    return out.getvalue()
