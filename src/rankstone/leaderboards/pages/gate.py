"""The page of a gate's judgements."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from rankstone.leaderboards.document import Cell, Heading, Mark, Page, Paragraph, table
from rankstone.leaderboards.gate import OUTCOMES, Judgement, Outcome, exit_code
from rankstone.leaderboards.numbers import finite, fixed

SIGNS: Mapping[Outcome, str] = {"pass": "✓", "fail": "✗", "undecided": "?", "incomparable": "?"}
MARKS: Mapping[Outcome, Mark] = {
    "pass": "passed", "fail": "failed", "undecided": "unclear", "incomparable": "unclear",
}  # fmt: skip
SENTENCES = {0: "The gate passes.", 1: "The gate fails.", 2: "The gate is undecided."}
HEADS = ("", "task", "method", "rule", "baseline", "candidate", "verdict", "finding")
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
    """One sentence, with the counts of the verdicts."""
    found = Counter(one.verdict for one in judgements)
    counts = ", ".join(f"{found[verdict]} {verdict}" for verdict in OUTCOMES if found[verdict])
    return f"{SENTENCES[exit_code(judgements)]} ({counts or 'nothing was judged'})"


def _cells(one: Judgement) -> tuple[str | Cell, ...]:
    sign = Cell(text=SIGNS[one.outcome], mark=MARKS[one.outcome])
    numbers = ("" if n is None else fixed(n) for n in (one.baseline, one.candidate))
    return sign, one.task, one.method, one.rule, *numbers, one.verdict, one.detail
