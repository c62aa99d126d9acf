"""The page of a gate's judgements."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rankstone.leaderboards.document import (
    Block,
    Cell,
    Column,
    Heading,
    Mark,
    Page,
    Paragraph,
    Table,
    table,
)
from rankstone.leaderboards.gate import Judgement, exit_code

SIGNS = {"pass": "✓", "fail": "✗", "incomparable": "?"}
MARKS: dict[str, Mark] = {"pass": "passed", "fail": "failed", "incomparable": "unclear"}
OUTCOMES = {0: "The gate passes.", 1: "The gate fails.", 2: "The gate cannot judge."}
HEADS = ("", "task", "method", "rule", "baseline", "candidate", "finding")
NUMBERS = ("baseline", "candidate")


def page(judgements: Sequence[Judgement], *, narrow: bool = False) -> Page:
    """The outcome and all judgements.

    Args:
        narrow: a block for each method on each task in place of the table, for a terminal: so do
            findings have nearly the whole width.
    """
    rows = tuple(map(_values, judgements))
    whole = table(HEADS, map(_cells, judgements), figures=NUMBERS)
    blocks = _blocks(judgements) if narrow else [whole]
    title = Heading("Retrieval quality gate", level=3)
    summary = Paragraph(outcome(judgements)) if narrow else Paragraph(lead=outcome(judgements))
    return Page(
        blocks=(*blocks, Paragraph(""), summary) if narrow else (title, summary, *blocks),
        fields=Judgement._fields,
        rows=rows,
        body={"exit_code": exit_code(judgements), "outcome": outcome(judgements),
              "judgements": rows},
    )  # fmt: skip


def outcome(judgements: Sequence[Judgement]) -> str:
    """One sentence, with the counts."""
    counts = ", ".join(
        f"{n} {verdict}"
        for verdict in ("fail", "incomparable", "pass")
        if (n := sum(one.verdict == verdict for one in judgements))
    )
    return f"{OUTCOMES[exit_code(judgements)]} ({counts})"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    if abs(value) >= 10:
        return f"{value:,.0f}" if value.is_integer() else f"{value:,.1f}"
    return f"{value:.4f}"


def _cells(one: Judgement) -> tuple[str, ...]:
    numbers = _number(one.baseline), _number(one.candidate)
    return (SIGNS[one.verdict], one.task, one.method, one.rule, *numbers, one.detail)


def _blocks(judgements: Sequence[Judgement]) -> Iterator[Block]:
    columns = (Column(heading=("",)), Column(heading=("",), left=True, wrap=True))
    for task, method in dict.fromkeys((one.task, one.method) for one in judgements):
        own = [one for one in judgements if (one.task, one.method) == (task, method)]
        yield Heading(f"{method} on {task}" if method else "")
        rows = (
            (Cell(text=SIGNS[one.verdict], mark=MARKS[one.verdict]), Cell(text=_lines(one)))
            for one in own
        )
        yield Table(columns=columns, rows=tuple(rows), headless=True)


def _lines(one: Judgement) -> str:
    """One rule: what it allows, both figures where there are two, and the finding."""
    both = ""
    if one.baseline is not None and one.candidate is not None:
        both = f"{_number(one.baseline)} -> {_number(one.candidate)}: "
    return "\n".join([one.rule, *(both + one.detail).split("; ")])


def _values(one: Judgement) -> dict[str, object]:
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in one._asdict().items()
    }
