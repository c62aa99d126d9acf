"""Values that others published for the methods defined here: `leaderboards/published.csv`."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rankstone.errors import DefinitionError
from rankstone.specs import MethodSpec

if TYPE_CHECKING:
    from rich.table import Table


class Published(NamedTuple):
    """One published value.

    Attributes:
        method: the full name of ours that it belongs to.
        task: the full name of our task; empty where we have none, or it cannot be told.
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
    """All rows of the file; none where there is no file.

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
    """The rows of `method`: those of its name, or of the one its key `published` names."""
    key = method.published or method.name
    return [row for row in rows if row.method == key]


def table(rows: Iterable[Published], *, methods: bool) -> Table:
    """As a table for the terminal; `methods`: with a column that names them."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    columns = ("task", "measure", "value", "confidence", "source")
    drawn = Table(*(("method", *columns) if methods else columns), box=box.SIMPLE)
    for row in rows:
        cells = (row.task or row.dataset, row.measure, row.value, row.confidence, row.source)
        shown = (row.method, *cells) if methods else cells
        drawn.add_row(*(Text(cell) for cell in shown))
    return drawn
