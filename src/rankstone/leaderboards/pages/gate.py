"""The page of a gate's judgements."""

from __future__ import annotations

from collections.abc import Sequence

from rankstone.leaderboards.document import Cell, Heading, Mark, Page, Paragraph, table
from rankstone.leaderboards.gate import Judgement, exit_code
from rankstone.leaderboards.numbers import finite, fixed

SIGNS = {"pass": "✓", "fail": "✗", "incomparable": "?"}
MARKS: dict[str, Mark] = {"pass": "passed", "fail": "failed", "incomparable": "unclear"}
OUTCOMES = {0: "The gate passes.", 1: "The gate fails.", 2: "The gate cannot judge."}
HEADS = ("", "task", "method", "rule", "baseline", "candidate", "finding")
NUMBERS = ("baseline", "candidate")


def page(judgements: Sequence[Judgement]) -> Page:
    """The outcome and all judgements."""
    rows = tuple(finite(one._asdict()) for one in judgements)
    return Page(
        blocks=(
            Heading("Retrieval quality gate", level=3),
            Paragraph(lead=outcome(judgements)),
            table(HEADS, map(_cells, judgements), figures=NUMBERS),
        ),
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


def _cells(one: Judgement) -> tuple[str | Cell, ...]:
    sign = Cell(text=SIGNS[one.verdict], mark=MARKS[one.verdict])
    numbers = ("" if n is None else fixed(n) for n in (one.baseline, one.candidate))
    return sign, one.task, one.method, one.rule, *numbers, one.detail
