"""What a gate found, for people and for machines: terminal, Markdown, GitHub, JUnit, JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from rankstone.leaderboards.gate import Judgement, exit_code

if TYPE_CHECKING:
    from rich.console import Group, RenderableType
    from rich.table import Table

SIGNS = {"pass": "✓", "fail": "✗", "incomparable": "?"}
COLOURS = {"pass": "green", "fail": "red", "incomparable": "yellow"}
OUTCOMES = {0: "The gate passes.", 1: "The gate fails.", 2: "The gate cannot judge."}
HEADS = ("", "task", "method", "rule", "baseline", "candidate", "finding")


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


def terminal(judgements: Sequence[Judgement]) -> Group:
    """A block for each method on each task, so that findings have nearly the whole width."""
    from rich.console import Group
    from rich.text import Text

    blocks: list[RenderableType] = []
    for task, method in dict.fromkeys((one.task, one.method) for one in judgements):
        own = [one for one in judgements if (one.task, one.method) == (task, method)]
        blocks.append(Text(f"{method} on {task}" if method else "", "bold"))
        blocks += [_block(one) for one in own]
        blocks.append(Text())
    return Group(*blocks)


def _block(one: Judgement) -> Table:
    """One rule: what it allows, both figures where there are two, and what was found."""
    from rich.table import Table
    from rich.text import Text

    drawn = Table.grid(padding=(0, 1))
    drawn.add_column(width=2, justify="right")
    drawn.add_column(ratio=1, overflow="fold")
    drawn.expand = True
    drawn.add_row(Text(SIGNS[one.verdict], COLOURS[one.verdict]), Text(one.rule))
    if one.baseline is not None and one.candidate is not None:
        both = f"{_number(one.baseline)} -> {_number(one.candidate)}: "
        found, *more = (both + one.detail).split("; ")
    else:
        found, *more = one.detail.split("; ")
    for n, line in enumerate([found, *more]):
        drawn.add_row("", Text(line, "" if n == 0 else "dim"))
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
