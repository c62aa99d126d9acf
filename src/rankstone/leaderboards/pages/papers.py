"""Reproduced tables on the terminal, as Markdown and CSV, and as the JSON a page is made of."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rankstone.leaderboards.formats.markdown import line
from rankstone.leaderboards.numbers import UNKNOWN, fixed
from rankstone.leaderboards.papers import tested
from rankstone.leaderboards.papers.tables import (
    VERDICTS,
    Coverage,
    PaperCell,
    PaperSpec,
    Reproduction,
    coverage,
)

HEADS = ("table", "cells", "ours", "data here", "measured", "within", "above", "below")
COLUMNS = (
    "table", "row", "method", "task", "measure", "expected", "tolerance", "measured",
    "difference", "verdict", "reason", "source",
)  # fmt: skip
INTRODUCTION = """\
# Paper tables

Published tables, and what of them was reproduced here. A cell is a published value of one method
on one task. It is **within** the table's tolerance, or **above** or **below** it: a score too high
is as suspicious as one too low. Of the cells of a table, *ours* have a method and a task defined
here, *data here* are those of them whose data was at hand where this page was made. What was not
run is counted by reason below each table; `rankstone reproduce TABLE` runs it.
"""


def to_csv(found: Iterable[Reproduction]) -> str:
    """One line per cell, at full precision; unknown is empty."""
    return _csv(COLUMNS, (_values(one.paper, cell) for one in found for cell in one.cells))


def _csv(heads: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(heads)
    writer.writerows(["" if value is None else value for value in row] for row in rows)
    return out.getvalue()


def _values(paper: PaperSpec, cell: PaperCell) -> tuple[object, ...]:
    row = cell.row
    return (
        paper.name, row.row, row.method, cell.task, row.measure, cell.expected, cell.tolerance,
        cell.measured, cell.difference, cell.verdict, cell.reason, paper.source,
    )  # fmt: skip


def list_text(found: Sequence[Reproduction], form: str) -> str:
    """The coverage of tables: `markdown`, `csv` or `json`."""
    rows = [coverage(one) for one in found]
    if form == "csv":
        return _csv(Coverage._fields, rows)
    if form == "json":
        return json.dumps([row._asdict() for row in rows], indent=1, ensure_ascii=False) + "\n"
    return "\n".join(_coverage_lines(rows, linked=False)) + "\n"


def text(found: Sequence[Reproduction], form: str, *, every: bool) -> str:
    """The reproduced tables: `markdown`, `csv` or `json`."""
    if form == "csv":
        return to_csv(found)
    return tested.tables_to_json(found) if form == "json" else markdown(found, every=every)


def markdown(found: Sequence[Reproduction], *, every: bool = False) -> str:
    """The page; `every`: with the cells that were not run, which are else counted by reason."""
    lines = [INTRODUCTION, *_coverage_lines([coverage(one) for one in found], linked=True)]
    for one in found:
        lines += ["", *_section(one, every)]
    return "\n".join(lines) + "\n"


def _coverage_lines(rows: Sequence[Coverage], *, linked: bool) -> Iterator[str]:
    yield line(HEADS)
    yield "|---|" + "--:|" * (len(HEADS) - 1)
    for row in rows:
        name = f"[{row.table}](#{row.table})" if linked else row.table
        yield line((name, *map(_count, row.counts)))
    yield line(("**all**", *map(_count, _sums(rows))))


def _sums(rows: Sequence[Coverage]) -> list[int]:
    return [sum(row.counts[place] for row in rows) for place in range(len(HEADS) - 1)]


def _count(value: int) -> str:
    return f"{value:,}"


def _section(found: Reproduction, every: bool) -> Iterator[str]:
    paper = found.paper
    yield f"## {paper.name}"
    yield ""
    yield f"**{_escape(paper.title)}** ({_escape(paper.source)})"
    yield ""
    yield f"Tolerance ±{_tolerance(paper.tolerance)}: {_escape(paper.because)}"
    if paper.note:
        yield ""
        yield _escape(paper.note)
    shown = [cell for cell in found.cells if every or cell.verdict != "not run"]
    if shown:
        yield ""
        yield "| row | task | measure | expected | measured | difference | verdict |"
        yield "|---|---|---|--:|--:|--:|---|"
        for cell in shown:
            yield line(map(_escape, cell_texts(paper, cell)))
    notes = dict.fromkeys(cell.row.note for cell in shown if cell.row.note)
    for note in notes:
        yield ""
        yield _escape(note)
    if not every:
        yield from _uncounted(found)


def _uncounted(found: Reproduction) -> Iterator[str]:
    reasons = Counter(cell.reason for cell in found.cells if cell.verdict == "not run")
    if reasons:
        yield ""
        counts = "; ".join(f"{n:,} {_escape(reason)}" for reason, n in reasons.most_common())
        yield f"Not run: {counts}."


def cell_texts(paper: PaperSpec, cell: PaperCell) -> tuple[str, ...]:
    """A cell as it is read: row, task, measure, expected, measured, difference, verdict."""
    decimals = max(4, paper.digits)
    reason = f": {cell.reason}" if cell.verdict == "not run" else ""
    signed = UNKNOWN
    if cell.difference is not None:
        signed = fixed(cell.difference, decimals)
        signed = signed if signed.startswith("−") or not float(signed) else f"+{signed}"
    return (
        cell.row.row,
        cell.task,
        cell.row.measure,
        fixed(cell.expected, paper.digits),
        UNKNOWN if cell.measured is None else fixed(cell.measured, decimals),
        signed,
        cell.verdict + reason,
    )


def _tolerance(value: float) -> str:
    return f"{value:.6f}".rstrip("0").lstrip("0") if value < 1 else f"{value:g}"


def _escape(text: str) -> str:
    for character in "\\|*<`[":
        text = text.replace(character, f"\\{character}")
    return text


STYLES = dict(zip(VERDICTS, ("green", "bold red", "bold red", "dim"), strict=True))


def terminal_list(found: Sequence[Reproduction]) -> Any:
    """The coverage of tables, as a rich table."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    rows = [coverage(one) for one in found]
    drawn = Table(box=box.SIMPLE, show_footer=True, padding=(0, 1, 0, 0), pad_edge=False)
    for head, total in zip(HEADS, ("all", *map(_count, _sums(rows))), strict=True):
        side: Any = "left" if head == "table" else "right"
        # Names, by which tables are asked for, are never cut.
        drawn.add_column(head, total, justify=side, no_wrap=head != "data here")
    for row in rows:
        drawn.add_row(Text(row.table), *map(_count, row.counts))
    return drawn


def terminal(found: Reproduction, width: int) -> Any:
    """One table's cells, as a rich table."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    paper, counts = found.paper, Counter(cell.verdict for cell in found.cells)
    title = f"{paper.name}: {paper.title}, ±{_tolerance(paper.tolerance)}"
    summary = ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict])
    drawn = Table(
        box=box.SIMPLE,
        title=Text(title),
        title_justify="left",
        title_style="bold",
        caption=Text(f"{summary}. {paper.source}"),
        caption_justify="left",
        width=min(width, 140),
    )
    drawn.add_column("row", overflow="fold", ratio=4)
    drawn.add_column("task", overflow="fold", ratio=3, min_width=23)
    for head in ("measure", "expected", "measured", "difference"):
        drawn.add_column(head, justify="left" if head == "measure" else "right", no_wrap=True)
    drawn.add_column("verdict", overflow="fold", ratio=4)
    for cell in found.cells:
        drawn.add_row(*map(Text, cell_texts(paper, cell)), style=STYLES[cell.verdict])
    return drawn
