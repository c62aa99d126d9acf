"""Scores of a record's run under the rules of another tool."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict

from rankstone.evaluation.conventions.comparison import Comparison
from rankstone.evaluation.conventions.rules import Tool
from rankstone.evaluation.conventions.tools import TOOLS
from rankstone.leaderboards.document import Block, Items, Page, table
from rankstone.results.record import RunRecord


def comparison_page(record: RunRecord, tool: str, rows: Sequence[Comparison]) -> Page:
    """Return both numbers of each measure, with the rules that cause their difference."""
    theirs = TOOLS[tool]
    notes = list(_notes(record, theirs))
    shown: Block = Items((f"{tool} computes none of the record's measures",))
    if rows:
        heads = ("measure", "rankstone", tool, f"name in {tool}", "difference due to")
        cells = (_compared(row, theirs) for row in rows)
        shown = table(heads, cells, figures=("rankstone", tool))
    return Page(
        title=f"{record.method.name} on {record.task.name} as {tool}",
        blocks=(shown, Items((f"rules of {theirs.source}", *notes))),
        body={
            "method": record.method.name,
            "task": record.task.name,
            "tool": tool,
            "source": theirs.source,
            "measures": [asdict(row) for row in rows],
            "notes": notes,
        },
    )


def _compared(row: Comparison, theirs: Tool) -> tuple[str, ...]:
    digits = 5 if theirs.digits is None else theirs.digits
    moved = "; ".join(f"{amount:+.5f} {rule}" for rule, amount in row.moved) or "nothing"
    return row.measure, f"{row.ours:.5f}", f"{row.shown:.{digits}f}", row.name, moved


def _notes(record: RunRecord, tool: Tool) -> Iterator[str]:
    """Yield the limits of the numbers and of the stored run."""
    yield (
        f"the stored run holds at most {record.policy.depth} results per query, in the order of"
        " the record's policy, with float32 scores"
    )
    if record.policy.self_hits == "drop":
        yield "self hits were removed before the run was stored"
    if tool.digits is not None:
        yield f"{tool.name} reports {tool.digits} decimals"
    if tool.note:
        yield tool.note
