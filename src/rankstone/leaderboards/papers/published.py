"""Published values of the methods defined here: `leaderboards/published.csv`."""

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
        method: Full name of the method defined here.
        task: Full name of the task defined here; empty if there is none, or if it is unknown.
        dataset: Data set and split as named by the source.
        measure: Name of the measure; the source's if it is not defined here.
        value: Value as printed, a fraction unless stated otherwise.
        source: Publication, and the variant of the method in it.
        confidence: `high`, `medium` or `low`: confidence that the value was read correctly.
    """

    method: str
    task: str
    dataset: str
    measure: str
    value: str
    source: str
    confidence: str


def read_published(path: Path) -> list[Published]:
    """Return all rows of the file; none if it does not exist.

    Raises:
        DefinitionError: the columns are wrong.
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
