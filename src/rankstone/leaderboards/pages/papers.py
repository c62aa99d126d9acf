"""Pages of published tables: coverage of the reproduction, and every cell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from rankstone.leaderboards.document import (
    Block,
    Cell,
    Folded,
    Heading,
    Mark,
    Page,
    Paragraph,
    table,
)
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
UNMEASURED = "Not measured here"
INTRODUCTION = (
    "Published tables, and the part of them that was reproduced here. A cell is a published value"
    " of one method on one task. It is within the table's tolerance, or above or below it: a score"
    ' too high is as suspicious as one too low. Of the cells of a table, those under "ours" have a'
    ' method and a task defined here, and those under "data here" also have data that was available'
    " where this page was made. Cells that were not run are counted by reason below each table;"
    " to run them: rankstone reproduce TABLE. Tables of which no cell was run are at the end."
)


def page(found: Sequence[Reproduction], *, every: bool = False) -> Page:
    """Return the coverage of all tables, then the cells of each.

    Args:
        every: List the cells that were not run, instead of counting them by reason.
    """
    measured = [one for one in found if every or coverage(one).measured]
    others = [one for one in found if one not in measured]
    return Page(
        title="Paper tables",
        blocks=(
            Paragraph(INTRODUCTION),
            _coverage(measured, linked=True, total=found),
            *(block for one in measured for block in _section(one, every)),
            *_not_measured(others),
        ),
        fields=FIELDS,
        rows=tuple(_values(one.paper, cell) for one in found for cell in one.cells),
        body=tables_body(found),
    )


def coverage_page(found: Sequence[Reproduction]) -> Page:
    """Return the coverage of all tables."""
    rows = [coverage(one) for one in found]
    return Page(
        blocks=(_coverage(found, linked=False, total=found),),
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


def _not_measured(found: Sequence[Reproduction]) -> Iterator[Block]:
    """Yield the tables without a measured cell, in collapsed blocks."""
    if found:
        yield Heading(UNMEASURED)
        yield Folded(f"Cells of these {len(found)} tables", (_coverage(found, linked=True),))
    for one in found:
        summary = f"{one.paper.name}: {one.paper.title}, {len(one.cells):,} cells"
        yield Folded(summary, tuple(_section(one, every=False, level=3)))


def _coverage(
    found: Sequence[Reproduction], *, linked: bool, total: Sequence[Reproduction] | None = None
) -> Block:
    """Return a row for each table, and the sums over `total`, if given."""
    rows = [coverage(one) for one in found]
    names = [Cell(text=row.table, link=row.table if linked else "") for row in rows]
    counts = [row.counts for row in rows]
    if total is not None:
        every = [coverage(one).counts for one in total]
        counts.append(tuple(map(sum, zip(*every, strict=True))) or (0,) * len(COVERAGE))
        name = "all" if len(total) == len(found) else f"all {len(total)} tables"
        names.append(Cell(text=name, mark="strong"))
    texts: list[Sequence[str | Cell]] = [
        [name, *(f"{n:,}" for n in line)] for name, line in zip(names, counts, strict=True)
    ]
    return table(("table", *COVERAGE), texts, figures=COVERAGE)


def _section(found: Reproduction, every: bool, level: int = 2) -> Iterator[Block]:
    paper = found.paper
    yield Heading(paper.name, level)
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
    """Return the cell as a row of `HEADS`."""
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
