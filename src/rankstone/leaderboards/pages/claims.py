"""The page of tested claims."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rankstone.leaderboards.costs import BY_PLACE
from rankstone.leaderboards.document import Block, Cell, Heading, Mark, Page, Paragraph, table
from rankstone.leaderboards.numbers import UNKNOWN, fixed
from rankstone.leaderboards.papers.checks import CHECKS, Value
from rankstone.leaderboards.papers.claims import CheckSpec, Finding, Result
from rankstone.leaderboards.papers.tested import claims_body
from rankstone.results.store import Found

MARKS: Mapping[str, Mark] = {"holds": "strong", "does not hold": "strong", "not testable here": ""}
"""Verdicts in the order of the page."""
QUOTIENTS = ("share", "ratio", "candidates", "multiply-adds")
HEADS = ("check", "on", "found", "95% interval", "claimed", "holds")
FIELDS = (
    "claim", "verdict", "check", "task", "value", "low", "high", "at_least", "at_most", "holds",
    "clear", "reason",
)  # fmt: skip
INTRODUCTION = (
    "Each paper's headline as a relation between runs, tested on the data named with it. A claim"
    " holds where every check of it does, on every task. Intervals are 95%, by paired bootstrap"
    " over queries; where one lies on both sides of the bound, the check is not clear."
)


def page(results: Sequence[Result], records: Found | None = None) -> Page:
    """Return the verdicts of all claims, then the checks of each.

    Args:
        records: the runs that the claims were tested on, whose identities the JSON states.
    """
    ordered = sorted(results, key=lambda r: ([*MARKS].index(r.verdict), r.claim.name))
    return Page(
        title="Claims",
        blocks=(
            Paragraph(INTRODUCTION),
            table(("claim", "verdict", "checks that hold"), map(_summary, ordered)),
            *(block for result in ordered for block in _section(result)),
        ),
        fields=FIELDS,
        rows=tuple(_values(r, finding) for r in ordered for finding in r.findings or (None,)),
        body=claims_body(results, records or {}),
    )


def _summary(result: Result) -> tuple[str | Cell, ...]:
    name = result.claim.name
    verdict = Cell(text=result.verdict, mark=MARKS[result.verdict])
    return Cell(text=name, link=name), verdict, _score(result)


def _section(result: Result) -> Iterator[Block]:
    claim = result.claim
    yield Heading(claim.name)
    yield Paragraph(f": {claim.statement} ({claim.source})", lead=result.verdict)
    if claim.differs:
        yield Paragraph(f"How this test differs: {claim.differs}")
    if claim.untestable:
        yield Paragraph(f"Not testable: {claim.untestable}")
    else:
        yield table(HEADS, map(_row, result.findings), figures=("found", "claimed"))


def _row(finding: Finding) -> tuple[str, ...]:
    between = UNKNOWN if finding.value is None else interval(finding.value)
    check = finding.check
    return describe(check), finding.task, outcome(finding), between, bound(check), _held(finding)


def _held(finding: Finding) -> str:
    if finding.value is None:
        return f"not testable: {finding.reason}"
    return ("yes" if finding.holds else "no") + ("" if finding.clear else ", not clear")


def _values(result: Result, finding: Finding | None) -> dict[str, object]:
    row: dict[str, object] = {"claim": result.claim.name, "verdict": result.verdict}
    if finding is None:
        return {**dict.fromkeys(FIELDS), **row, "reason": result.reason}
    value, check = finding.value, finding.check
    return {
        **row,
        "check": describe(check),
        "task": finding.task,
        **{name: value and getattr(value, name) for name in ("value", "low", "high")},
        "at_least": check.at_least,
        "at_most": check.at_most,
        "holds": finding.holds,
        "clear": finding.clear,
        "reason": finding.reason,
    }


def describe(check: CheckSpec) -> str:
    """Return in words the quantity that the check measures."""
    known = {
        name: getattr(check, name) for name in ("of", "than", "truth", "k", "level", "measure")
    }
    cost = BY_PLACE.get(check.figure or "")
    figure = check.figure if cost is None else cost.name
    if cost is not None and cost.unit == "bytes":
        figure = f"{figure} bytes"
    if check.than_on:
        known["than"] = f"{check.than} on {check.than_on}"
    text = CHECKS[check.kind].reads.format(**known, figure=figure)
    if check.kind == "overlap":
        text += f", its {check.at or check.k} best" + (
            f" − in {known['than']}" if check.than else ""
        )
    return text


def bound(check: CheckSpec) -> str:
    """`≥ .500`."""
    if check.at_least is not None:
        return f"≥ {fixed(check.at_least)}"
    return f"≤ {fixed(check.at_most or 0.0)}"


def outcome(finding: Finding) -> str:
    """Return the value and the terms that it was computed from."""
    value = finding.value
    if value is None:
        return UNKNOWN
    if not value.parts:
        return fixed(value.value)
    sign = "÷" if finding.check.kind in QUOTIENTS else "−"
    return f"{fixed(value.value)} = {f' {sign} '.join(map(fixed, value.parts))}"


def interval(value: Value) -> str:
    if value.low is None or value.high is None:
        return UNKNOWN
    return f"{fixed(value.low)} to {fixed(value.high)}"


def _score(result: Result) -> str:
    known = [finding.holds for finding in result.findings if finding.holds is not None]
    counts = f"{sum(known)} of {len(known)}" if known else ""
    if not known or not MARKS[result.verdict]:
        return "; ".join(filter(None, (counts, result.reason)))
    missing = len(result.findings) - len(known)
    return counts + (f", {missing} not testable" if missing else "")
