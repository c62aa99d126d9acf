"""Page of a gate's judgements."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from rankstone.leaderboards.document import (
    Cell,
    Column,
    Heading,
    Mark,
    Page,
    Paragraph,
    Table,
)
from rankstone.leaderboards.gate import OUTCOMES, Judgement, Outcome, exit_code
from rankstone.leaderboards.numbers import UNKNOWN, finite, fixed, quality
from rankstone.leaderboards.pages.compare import probability

SIGNS: Mapping[Outcome, str] = {"pass": "✓", "fail": "✗", "undecided": "?", "incomparable": "?"}
MARKS: Mapping[Outcome, Mark] = {
    "pass": "passed", "fail": "failed", "undecided": "unclear", "incomparable": "unclear",
}  # fmt: skip
SENTENCES = {0: "The gate passes.", 1: "The gate fails.", 2: "The gate is undecided."}
COLUMNS = (
    Column(heading=("verdict",), left=True),
    Column(heading=("task",), left=True, wrap=True),
    Column(heading=("method",), left=True, wrap=True),
    Column(heading=("rule",), left=True, wrap=True),
    Column(heading=("baseline",), priority=2),
    Column(heading=("candidate",), priority=1),
    Column(heading=("drop",)),
    Column(heading=("interval",)),
    Column(heading=("p",)),
    Column(heading=("adjusted p",), short=("adj. p",)),
    Column(heading=("min. detectable drop",), short=("min. det.", "drop")),
    Column(heading=("remark",), left=True, wrap=True),
)
NOTE = (
    "drop: baseline minus candidate, with its simultaneous interval over all cells; p: for a drop"
    " above the allowance; min. detectable drop: with 80% power on these queries"
)


def page(judgements: Sequence[Judgement]) -> Page:
    """Return the outcome and all judgements."""
    rows = tuple(finite(one._asdict()) for one in judgements)
    return Page(
        blocks=(
            Heading("Retrieval quality gate", level=3),
            Paragraph(lead=outcome(judgements)),
            _table(judgements),
        ),
        fields=Judgement._fields,
        rows=rows,
        body={"exit_code": exit_code(judgements), "outcome": outcome(judgements),
              "judgements": rows},
    )  # fmt: skip


def _table(judgements: Sequence[Judgement]) -> Table:
    known = any(one.p is not None for one in judgements)
    return Table(
        columns=COLUMNS, rows=tuple(map(_cells, judgements)), notes=(NOTE,) if known else ()
    )


def outcome(judgements: Sequence[Judgement]) -> str:
    """Return the outcome with the counts of the verdicts."""
    found = Counter(one.verdict for one in judgements)
    counts = ", ".join(f"{found[verdict]} {verdict}" for verdict in OUTCOMES if found[verdict])
    return f"{SENTENCES[exit_code(judgements)]} ({counts or 'nothing was judged'})"


def _cells(one: Judgement) -> tuple[Cell, ...]:
    """Return the judgement as a row of `COLUMNS`."""
    verdict = Cell(text=f"{SIGNS[one.outcome]} {one.verdict}", mark=MARKS[one.outcome])
    ends = [UNKNOWN if end is None else fixed(end) for end in (one.low, one.high)]
    figures = (
        *(_text(n, fixed) for n in (one.baseline, one.candidate)),
        _text(one.drop, fixed),
        "" if one.drop is None else " to ".join(ends),
        *(_text(n, probability) for n in (one.p, one.adjusted)),
        _text(one.detectable, quality),
    )
    remark = one.detail if one.drop is None else one.remark
    texts = (one.task, one.method, one.rule, *figures, remark)
    return verdict, *(Cell(text=text) for text in texts)


def _text(value: float | None, shown: Callable[[float], str]) -> str:
    return "" if value is None else shown(value)
