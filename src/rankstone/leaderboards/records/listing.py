"""List of stored records, failures and unreadable files included."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rankstone.errors import ResultsError
from rankstone.leaderboards.document import Items, Page, table
from rankstone.results.record import RunRecord
from rankstone.results.store import Stored

FIELDS = ("method", "task", "label", "status", "machine", "finished", "file")
PRIORITIES = {"file": 3, "finished": 2, "machine": 1}


def page(every: Sequence[Stored | ResultsError]) -> Page:
    """Return one row per record, and the errors of unreadable files."""
    rows = [_row(*read) for read in every if not isinstance(read, ResultsError)]
    faults = tuple(str(read) for read in every if isinstance(read, ResultsError))
    shown = table(FIELDS, [tuple(row.values()) for row in rows], priorities=PRIORITIES)
    blocks = (shown, Items(faults)) if faults else (shown,)
    return Page(blocks=blocks, fields=FIELDS, rows=tuple(rows))


def _row(record: RunRecord, path: Path) -> dict[str, str]:
    return {
        "method": record.method.name,
        "task": record.task.name,
        "label": record.label or "",
        "status": record.status,
        "machine": record.environment.machine,
        "finished": record.provenance.finished,
        "file": str(path),
    }
