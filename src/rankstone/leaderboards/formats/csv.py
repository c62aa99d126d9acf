"""Pages as comma-separated values: figures at full precision, unknown ones empty.

Texts that a spreadsheet would evaluate as a formula are prefixed with an apostrophe, as OWASP
recommends.
"""

from __future__ import annotations

import csv
import io
import re

from rankstone.leaderboards.document import Page
from rankstone.leaderboards.formats.json import values

FORMULA = re.compile(r"[=+\-@\t\r\n＝＋－＠]")
"""Start of a formula."""
FIGURE = re.compile(r"[+-]?[\d,]*\.?\d*(e[+-]?\d+)?%?", re.IGNORECASE)
"""Number as shown in tables, or a dash."""


def draw(page: Page) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    fields, rows = values(page)
    writer.writerow(map(_guarded, fields))
    writer.writerows([_guarded(row.get(field)) for field in fields] for row in rows)
    return out.getvalue()


def _guarded(value: object) -> object:
    if isinstance(value, str) and FORMULA.match(value) and not FIGURE.fullmatch(value):
        return f"'{value}"
    return "" if value is None else value
