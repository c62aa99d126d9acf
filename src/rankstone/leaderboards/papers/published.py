"""Values that others published for the methods defined here: `leaderboards/published.csv`."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from rankstone.errors import DefinitionError
from rankstone.leaderboards.document import Page, table
from rankstone.specs import MethodSpec


class Published(NamedTuple):
    """One published value.

    Attributes:
        method: the full name of ours that it belongs to.
        task: the full name of our task; empty where we have none, or it is unknown.
        dataset: the data set and split as the source has them.
        measure: our name of the measure; the source's where we have none.
        value: as printed, a fraction of 1 unless it says otherwise.
        source: where it was read, and which variant it is there.
        confidence: `high`, `medium` or `low`: how sure the reading is.
    """

    method: str
    task: str
    dataset: str
    measure: str
    value: str
    source: str
    confidence: str


def read_published(path: Path) -> list[Published]:
    """Return all rows of the file; none where there is no file.

    Raises DefinitionError where the columns are others.
    """
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = list(csv.reader(file)) or [[]]
    bad = next((n for n, row in enumerate(rows, 2) if len(row) != len(header)), None)
    if tuple(header) != Published._fields or bad is not None:
        where = "1" if bad is None else str(bad)
        raise DefinitionError(
            f"{path}, line {where}: expected the columns {', '.join(Published._fields)}."
            " Correct it."
        )
    return [Published(*row) for row in rows]


def published_of(method: MethodSpec, rows: Iterable[Published]) -> list[Published]:
    """Return the rows of `method`, or of the method that its key `published` names."""
    key = method.published or method.name
    return [row for row in rows if row.method == key]


def page(rows: Iterable[Published]) -> Page:
    """Return the table of published values."""
    listed = list(rows)
    shown = ("method", "task", "measure", "value", "confidence", "source")
    texts = (row._replace(task=row.task or row.dataset)._asdict() for row in listed)
    return Page(
        blocks=(table(shown, ([text[name] for name in shown] for text in texts)),),
        fields=Published._fields,
        rows=tuple(row._asdict() for row in listed),
    )
