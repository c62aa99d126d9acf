"""The page of tested claims."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rankstone.leaderboards.costs import BY_PLACE
from rankstone.leaderboards.document import Block, Cell, Heading, Mark, Page, Paragraph, table
from rankstone.leaderboards.numbers import UNKNOWN, fixed
from rankstone.leaderboards.papers.checks import CHECKS, Value
from rankstone.leaderboards.papers.claims import CheckSpec, ClaimSpec, Finding, Result
from rankstone.leaderboards.papers.tested import claims_body
from rankstone.results.store import Found

MARKS: Mapping[str, Mark] = {
    "holds": "strong", "does not hold": "strong", "inconclusive": "", "not testable": "",
}  # fmt: skip
"""Verdicts in the order of the page."""
SIGNS = {"at_least": "≥", "above": ">", "at_most": "≤", "below": "<"}
QUOTIENTS = ("share", "ratio", "candidates", "multiply-adds")
HEADS = ("check", "on", "paper reports", "required here", "found", "95% interval", "verdict")
FIELDS = (
    "claim", "control", "verdict", "check", "task", "reported", "bound", "required", "value", "low",
    "high", "finding", "reason",
)  # fmt: skip
INTRODUCTION = (
    "Each paper's headline as a relation between runs, tested on the data named with it. A check"
    " holds where its whole 95% interval keeps the bound, does not hold where none of it does, and"
    " is inconclusive where the interval lies on both sides or is not known. A claim holds where"
    " every check of it does, on every task, and does not hold where one does not. Intervals are by"
    " paired bootstrap over queries; counts and means over the paper's own queries are exact."
)
CONTROLS = "Controls of our own"
ABOUT_CONTROLS = "Relations that no paper claims, tested in the same way."


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
            *_part([result for result in ordered if not result.claim.control]),
            *_controls([result for result in ordered if result.claim.control]),
        ),
        fields=FIELDS,
        rows=tuple(_values(r, finding) for r in ordered for finding in r.findings or (None,)),
        body=claims_body(results, records or {}),
    )


def _part(results: Sequence[Result]) -> Iterator[Block]:
    yield table(("claim", "verdict", "checks that hold"), map(_summary, results))
    yield from (block for result in results for block in _section(result))


def _controls(results: Sequence[Result]) -> Iterator[Block]:
    if results:
        yield from (Heading(CONTROLS, level=1), Paragraph(ABOUT_CONTROLS), *_part(results))


def _summary(result: Result) -> tuple[str | Cell, ...]:
    name = result.claim.name
    verdict = Cell(text=result.verdict, mark=MARKS[result.verdict])
    return Cell(text=name, link=name), verdict, _score(result)


def _section(result: Result) -> Iterator[Block]:
    claim = result.claim
    yield Heading(claim.name)
    yield Paragraph(f": {claim.statement} ({claim.source})", lead=result.verdict)
    if not claim.untestable:
        yield Paragraph(_setting(claim))
    if claim.untestable:
        yield Paragraph(f"Not testable: {claim.untestable}")
    else:
        yield table(HEADS, map(_row, result.findings), figures=("required here", "found"))


def _setting(claim: ClaimSpec) -> str:
    if claim.control:
        return f"Setting: our own. {claim.differs}".strip()
    if claim.differs:
        return f"Not reproduced in the paper's setting: {claim.differs}"
    return "Setting: the paper's."


def _row(finding: Finding) -> tuple[str, ...]:
    between = UNKNOWN if finding.value is None else interval(finding.value)
    check = finding.check
    verdict = f"{finding.verdict}: {finding.reason}" if finding.reason else finding.verdict
    reported, found = check.reported or UNKNOWN, outcome(finding)
    return describe(check), finding.task, reported, bound(check), found, between, verdict


def _values(result: Result, finding: Finding | None) -> dict[str, object]:
    row: dict[str, object] = {
        "claim": result.claim.name, "control": result.claim.control, "verdict": result.verdict,
    }  # fmt: skip
    if finding is None:
        return {**dict.fromkeys(FIELDS), **row, "reason": result.reason}
    value, check = finding.value, finding.check
    return {
        **row,
        "check": describe(check),
        "task": finding.task,
        **{name: value and getattr(value, name) for name in ("value", "low", "high")},
        "reported": check.reported or None,
        "bound": check.bound[0],
        "required": check.bound[1],
        "finding": finding.verdict,
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
    if check.than_measure:
        known["than"] = f"{check.than_measure} of {check.than}"
    if check.than_on:
        known["than"] = f"{known['than']} on {check.than_on}"
    pairs = f"the {check.k} best of {check.truth}" if check.k else "what is judged relevant"
    text = CHECKS[check.kind].reads.format(**known, figure=figure, pairs=pairs)
    if check.unseen:
        text += ", queries with unseen relevant documents"
    if check.kind == "overlap":
        text += f", its {check.at or check.k} best" + (
            f" − in {known['than']}" if check.than else ""
        )
    return text


def bound(check: CheckSpec) -> str:
    """`≥ .500`."""
    name, value = check.bound
    return f"{SIGNS[name]} {fixed(value)}"


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
    known = [found.verdict for found in result.findings if found.value is not None]
    counts = f"{known.count('holds')} of {len(known)}" if known else ""
    if not known or result.verdict == "not testable":
        return "; ".join(filter(None, (counts, result.reason)))
    missing = len(result.findings) - len(known)
    return counts + (f", {missing} not testable" if missing else "")
