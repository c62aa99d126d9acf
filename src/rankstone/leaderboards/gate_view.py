"""What a gate found, for people and for machines: terminal, Markdown, GitHub, JUnit, JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from rankstone.leaderboards.gate import Judgement, exit_code

if TYPE_CHECKING:
    from rich.table import Table

SIGNS = {"pass": "✓", "fail": "✗", "incomparable": "?"}
COLOURS = {"pass": "green", "fail": "red", "incomparable": "yellow"}
OUTCOMES = {0: "The gate passes.", 1: "The gate fails.", 2: "The gate cannot judge."}
HEADS = ("", "task", "method", "rule", "baseline", "candidate", "finding")
NUMBERS = ("baseline", "candidate")


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
    return f"{value:.4f}" if abs(value) < 10 else f"{value:,.1f}"


def _cells(one: Judgement) -> tuple[str, ...]:
    numbers = _number(one.baseline), _number(one.candidate)
    return (SIGNS[one.verdict], one.task, one.method, one.rule, *numbers, one.detail)


def terminal(judgements: Sequence[Judgement]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=box.SIMPLE_HEAD, padding=(0, 1), collapse_padding=True)
    for head in HEADS:
        drawn.add_column(head, overflow="fold", justify="right" if head in NUMBERS else "left")
    for one in judgements:
        style = COLOURS[one.verdict]
        drawn.add_row(*(Text(cell, style if n == 0 else "") for n, cell in enumerate(_cells(one))))
    return drawn


def markdown(judgements: Sequence[Judgement]) -> str:
    """A heading, the outcome and a pipe table: a job summary, or a comment."""
    lines = ["### Retrieval quality gate", "", f"**{outcome(judgements)}**", ""]
    lines += [f"| {' | '.join(HEADS)} |", "|---|---|---|---|--:|--:|---|"]
    for one in judgements:
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in _cells(one)) + " |")
    return "\n".join(lines) + "\n"


def github(judgements: Sequence[Judgement]) -> Iterator[str]:
    """Workflow commands by which GitHub shows what failed or could not be compared."""
    kinds = {"fail": "error", "incomparable": "warning"}
    for one in judgements:
        if one.verdict in kinds:
            title = _escaped(f"{one.method} on {one.task}", ":,")
            text = _escaped(f"{one.rule}: {one.detail}")
            yield f"::{kinds[one.verdict]} title={title}::{text}"


def _escaped(text: str, more: str = "") -> str:
    """Percent-encoded as workflow commands want it; `more` in properties."""
    for character in "%\r\n" + more:
        text = text.replace(character, f"%{ord(character):02X}")
    return text


def junit(judgements: Sequence[Judgement]) -> str:
    """JUnit XML: a suite for each task, a test for each rule of each method."""
    root = ElementTree.Element("testsuites", name="rankstone gate")
    for task in dict.fromkeys(one.task for one in judgements):
        own = [one for one in judgements if one.task == task]
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=task or "records",
            tests=str(len(own)),
            failures=str(sum(one.verdict == "fail" for one in own)),
            errors="0",
            skipped=str(sum(one.verdict == "incomparable" for one in own)),
        )
        for one in own:
            case = ElementTree.SubElement(
                suite, "testcase", classname=f"{task}.{one.method}", name=one.rule
            )
            if one.verdict != "pass":
                kind = "failure" if one.verdict == "fail" else "skipped"
                ElementTree.SubElement(case, kind, message=one.detail)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def to_json(judgements: Sequence[Judgement]) -> str:
    """The exit code and every judgement, full precision; what is unknown is null."""
    body = {
        "exit_code": exit_code(judgements),
        "outcome": outcome(judgements),
        "judgements": [
            {
                key: None if isinstance(value, float) and not math.isfinite(value) else value
                for key, value in one._asdict().items()
            }
            for one in judgements
        ],
    }
    return json.dumps(body, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
