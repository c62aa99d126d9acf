"""Reproduced tables, read back from the JSON beside their page."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from rankstone.leaderboards.papers.tables import PaperCell, PaperSpec, Reproduction, RowSpec


def tables_from_json(text: str, papers: Mapping[str, PaperSpec]) -> list[Reproduction]:
    """Return the reproductions; AssertionError if a definition has changed since."""
    return [_reproduction(body, papers[body["table"]]) for body in json.loads(text)]


def _reproduction(body: dict[str, Any], paper: PaperSpec) -> Reproduction:
    assert paper.digest() == body["digest"], f"{paper.name} has changed. Run: make papers"
    rows = zip(paper.rows, body["rows"], strict=True)
    return Reproduction(paper, [cell for row, found in rows for cell in _cells(paper, row, found)])


def _cells(paper: PaperSpec, row: RowSpec, found: dict[str, Any]) -> Iterator[PaperCell]:
    reasons = {task: reason for reason, tasks in found["not_run"].items() for task in tasks}
    for task, value in [*row.expected.items(), *row.elsewhere.items()]:
        measured = found["measured"].get(task)
        yield PaperCell(
            row,
            task,
            value,
            paper.tolerance_of(row),
            measured=measured["value"] if measured else None,
            runs=measured["runs"] if measured else {},
            reason="" if measured else reasons[task],
            ours=task in found["ours"],
            here=task in found["data_here"],
        )
