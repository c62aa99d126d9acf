"""Pages of published tables: how much of each was reproduced, and every cell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from rankstone.leaderboards.document import Block, Cell, Heading, Mark, Page, Paragraph, table
from rankstone.leaderboards.numbers import UNKNOWN, fixed, signed
from rankstone.leaderboards.papers.tables import (
    Coverage,
    PaperCell,
    PaperSpec,
    Reproduction,
    Verdict,
    coverage,
)
from rankstone.leaderboards.papers.tested import tables_body

COVERAGE = ("cells", "ours", "data\nhere", "measured", "within", "above", "below")
NUMBERS = ("expected", "measured", "difference")
HEADS = ("row", "task", "measure", *NUMBERS, "verdict")
FIELDS = (
    "table", "row", "method", "task", "measure", "expected", "tolerance", "measured",
    "difference", "verdict", "reason", "source",
)  # fmt: skip
MARKS: Mapping[Verdict, Mark] = {"above": "failed", "below": "failed"}
INTRODUCTION = (
    "Published tables, and the part of them that was reproduced here. A cell is a published value"
    " of one method on one task. It is within the table's tolerance, or above or below it: a score"
    ' too high is as suspicious as one too low. Of the cells of a table, those under "ours" have a'
    ' method and a task defined here, and those under "data here" also have data that was at hand'
    " where this page was made. Cells that were not run are counted by reason below each table;"
    " to run them: rankstone reproduce TABLE"
)


def page(found: Sequence[Reproduction], *, every: bool = False) -> Page:
    """Return the coverage of all tables, then the cells of each.

    Args:
        every: list the cells that were not run; otherwise they are counted by reason.
    """
    rows = [coverage(one) for one in found]
    return Page(
        title="Paper tables",
        blocks=(
            Paragraph(INTRODUCTION),
            _coverage(rows, linked=True),
            *(block for one in found for block in _section(one, every)),
        ),
        fields=FIELDS,
        rows=tuple(_values(one.paper, cell) for one in found for cell in one.cells),
        body=tables_body(found),
    )


def coverage_page(found: Sequence[Reproduction]) -> Page:
    """Return the coverage of all tables."""
    rows = [coverage(one) for one in found]
    return Page(
        blocks=(_coverage(rows, linked=False),),
        fields=Coverage._fields,
        rows=tuple(row._asdict() for row in rows),
    )


def _values(paper: PaperSpec, cell: PaperCell) -> dict[str, object]:
    row = cell.row
    values = (
        paper.name, row.row, row.method, cell.task, row.measure, cell.expected, cell.tolerance,
        cell.measured, cell.difference, cell.verdict, cell.reason, paper.source,
    )  # fmt: skip
    return dict(zip(FIELDS, values, strict=True))


def _coverage(rows: Sequence[Coverage], *, linked: bool) -> Block:
    names = [Cell(text=row.table, link=row.table if linked else "") for row in rows]
    counts = [row.counts for row in rows]
    sums = [sum(column) for column in zip(*counts, strict=True)] or [0] * len(COVERAGE)
    lines = zip([*names, Cell(text="all", mark="strong")], [*counts, sums], strict=True)
    texts: list[Sequence[str | Cell]] = [[name, *(f"{n:,}" for n in line)] for name, line in lines]
    return table(("table", *COVERAGE), texts, figures=COVERAGE)


def _section(found: Reproduction, every: bool) -> Iterator[Block]:
    paper = found.paper
    yield Heading(paper.name)
    yield Paragraph(f" ({paper.source})", lead=paper.title)
    yield Paragraph(f"Tolerance ±{_tolerance(paper.tolerance)}: {paper.because}")
    if paper.note:
        yield Paragraph(paper.note)
    shown = [cell for cell in found.cells if every or cell.verdict != "not run"]
    if shown:
        yield table(HEADS, (_texts(paper, cell) for cell in shown), figures=NUMBERS)
    yield from map(Paragraph, dict.fromkeys(cell.row.note for cell in shown if cell.row.note))
    reasons = Counter(cell.reason for cell in found.cells if cell.verdict == "not run")
    if reasons and not every:
        counts = "; ".join(f"{n:,} {reason}" for reason, n in reasons.most_common())
        yield Paragraph(f"Not run: {counts}.")


def _texts(paper: PaperSpec, cell: PaperCell) -> tuple[str | Cell, ...]:
    """Return the cell under `HEADS`."""
    decimals = max(4, paper.digits)
    reason = f": {cell.reason}" if cell.verdict == "not run" else ""
    return (
        cell.row.row,
        cell.task,
        cell.row.measure,
        fixed(cell.expected, paper.digits),
        UNKNOWN if cell.measured is None else fixed(cell.measured, decimals),
        UNKNOWN if cell.difference is None else signed(cell.difference, decimals),
        Cell(text=cell.verdict + reason, mark=MARKS.get(cell.verdict, "")),
    )


def _tolerance(value: float) -> str:
    return f"{value:.6f}".rstrip("0").lstrip("0") if value < 1 else f"{value:g}"
