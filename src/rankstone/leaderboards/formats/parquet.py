"""Pages as Parquet: the values of CSV with types; title and notes are metadata."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rankstone.leaderboards.document import Page
from rankstone.leaderboards.formats.json import values
from rankstone.leaderboards.frame import TEXT_COLUMNS

if TYPE_CHECKING:
    from pyarrow import Array


def draw(page: Page) -> bytes:
    import pyarrow
    from pyarrow import parquet

    fields, rows = values(page)
    columns = {field: _column(field, [row.get(field) for row in rows]) for field in fields}
    notes = [note for table in page.tables for note in table.notes]
    titles = [title for title in (page.title, *(table.title for table in page.tables)) if title]
    about = {"title": next(iter(titles), ""), "notes": json.dumps(notes, ensure_ascii=False)}
    out = io.BytesIO()
    parquet.write_table(pyarrow.table(columns).replace_schema_metadata(about), out)
    return out.getvalue()


def _column(field: str, given: Sequence[object]) -> Array:
    """Return the values with their common type, or as text if they have none."""
    import pyarrow

    if all(value is None for value in given):
        kind = pyarrow.string() if field in TEXT_COLUMNS else pyarrow.float64()
        return pyarrow.array(given, kind)
    try:
        return pyarrow.array(given)
    except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError):
        return pyarrow.array([None if value is None else str(value) for value in given])
