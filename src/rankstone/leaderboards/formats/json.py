"""Pages as JSON: figures at full precision, unknown ones null."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from rankstone.leaderboards.document import CONTROLS, Page


def draw(page: Page) -> str:
    body = page.body if page.body is not None else list(values(page)[1])
    text = json.dumps(body, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return CONTROLS.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def values(page: Page) -> tuple[Sequence[str], Sequence[Mapping[str, object]]]:
    """Return the fields and rows of the page, or those of its tables if it has no rows."""
    if page.fields:
        return page.fields, page.rows
    rows = [
        {
            "table": " ".join(part for part in (table.title, table.kind) if part),
            **{
                column.name: cell.text if cell.value is None else cell.value
                for column, cell in zip(table.columns, row, strict=True)
            },
            **{
                f"{column.name} note": cell.note
                for column, cell in zip(table.columns, row, strict=True)
                if cell.note
            },
        }
        for table in page.tables
        for row in table.rows
    ]
    return list(dict.fromkeys(name for row in rows for name in row)), rows
