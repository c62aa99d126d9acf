"""Page of tested claims."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from rankstone.leaderboards.costs import BY_PLACE
from rankstone.leaderboards.document import (
    Block,
    Cell,
    Folded,
    Heading,
    Items,
    Mark,
    Page,
    Paragraph,
    table,
)
from rankstone.leaderboards.numbers import UNKNOWN, count, fixed
from rankstone.leaderboards.papers.checks import CHECKS, Value
from rankstone.leaderboards.papers.claims import CheckSpec, ClaimSpec, Finding, Result, Verdict
from rankstone.leaderboards.papers.tested import claims_body
from rankstone.progress import duration
from rankstone.results.store import Found

MARKS: Mapping[str, Mark] = {
    "holds": "strong", "does not hold": "strong", "inconclusive": "", "not tested": "",
}  # fmt: skip
"""Verdicts in the order of the page."""
SIGNS = {"at_least": "≥", "above": ">", "at_most": "≤", "below": "<"}
QUOTIENTS = ("share", "ratio", "candidates", "multiply-adds")
HEADS = ("check", "on", "paper reports", "criterion", "found", "95% interval", "verdict")
FIELDS = (
    "claim", "control", "verdict", "check", "task", "reported", "bound", "required", "value", "low",
    "high", "finding", "reason",
)  # fmt: skip
INTRODUCTION = (
    "Each claim is a paper's headline, stated as a relation between runs and tested on the data"
    " named with it. A claim holds if all its checks hold on all tasks, and does not hold if one"
    " check does not hold."
)
RULES = (
    "A check is a criterion for a quantity. It holds if the whole 95% interval satisfies the"
    " criterion, and does not hold if no part of the interval does. It is inconclusive if only a"
    " part does, or if the interval is not known.",
    'The criterion is that of this test. The paper\'s own result is in the column "paper reports".',
    "The intervals of differences are computed by sign flips, those of shares by Fieller's method,"
    " those of exponents by Student's t, and those of other statistics by bootstrap over queries.",
    "Bytes, multiply-adds and means over the paper's own queries are exact.",
    "The times of runs include training; they do not include encodings that were cached.",
)
UNTESTED = "Not tested"
ABOUT_UNTESTED = (
    "These claims have no verdict: weights or data are not public, or a run that a check needs was"
    " not measured here."
)
CONTROLS = "Controls"
ABOUT_CONTROLS = (
    "Relations that no paper claims. They are tested in the same way, to check the tests."
)
COUNTED: Mapping[Verdict, tuple[str, str]] = {
    "holds": ("holds", "hold"),
    "does not hold": ("does not hold", "do not hold"),
    "inconclusive": ("is inconclusive", "are inconclusive"),
}
"""Verdict -> its singular and plural form."""


def page(results: Sequence[Result], records: Found | None = None) -> Page:
    """Return the verdicts of all claims, then the checks of each.

    Args:
        records: Runs that the claims were tested on; the JSON contains their identities.
    """
    ordered = sorted(results, key=lambda r: ([*MARKS].index(r.verdict), r.claim.name))
    controls = [result for result in ordered if result.claim.control]
    claims = [result for result in ordered if not result.claim.control]
    tested = [result for result in claims if result.verdict != "not tested"]
    return Page(
        title="Claims",
        blocks=(
            Paragraph(INTRODUCTION),
            *_tested(tested, len(claims)),
            Heading("How a check is judged"),
            Items(RULES),
            *_sections(tested),
            *_untested([result for result in claims if result.verdict == "not tested"]),
            *_controls(controls),
        ),
        fields=FIELDS,
        rows=tuple(_values(r, finding) for r in ordered for finding in r.findings or (None,)),
        body=claims_body(results, records or {}),
    )


def _tested(results: Sequence[Result], of: int) -> Iterator[Block]:
    """Yield the table of verdicts of `of` claims."""
    if results:
        yield Paragraph(lead=_counts(results, of))
        yield table(("claim", "statement", "checks that hold", "verdict"), map(_summary, results))


def _sections(results: Sequence[Result]) -> Iterator[Block]:
    """Yield the checks of each claim."""
    return (block for result in results for block in _section(result))


def _counts(results: Sequence[Result], of: int) -> str:
    """Return `12 of 31 were tested: 2 hold, 4 do not hold, 6 are inconclusive.`"""
    found = Counter(result.verdict for result in results)
    counts = [(found[verdict], texts) for verdict, texts in COUNTED.items() if found[verdict]]
    parts = ", ".join(f"{n} {several if n > 1 else one}" for n, (one, several) in counts)
    tested = f"{len(results) - found['not tested']} of {of} were tested"
    return f"{tested}: {parts}." if parts else f"{tested}."


def _untested(results: Sequence[Result]) -> Iterator[Block]:
    if results:
        yield from (Heading(UNTESTED), Paragraph(ABOUT_UNTESTED))
        yield table(("claim", "statement", "reason"), map(_why, results))
    for result in results:
        if not result.claim.untestable:
            blocks = tuple(_section(result, level=3))
            yield Folded(f"{result.claim.name}: criteria", blocks)


def _controls(results: Sequence[Result]) -> Iterator[Block]:
    if results:
        yield from (Heading(CONTROLS, level=1), Paragraph(ABOUT_CONTROLS))
        yield from _tested(results, len(results))
        yield from _sections(results)


def _summary(result: Result) -> tuple[str | Cell, ...]:
    name = result.claim.name
    verdict = Cell(text=result.verdict, mark=MARKS[result.verdict])
    return Cell(text=name, link=name), result.claim.statement, _score(result), verdict


def _why(result: Result) -> tuple[str | Cell, ...]:
    claim, counts = result.claim, _score(result)
    name = Cell(text=claim.name, link="" if claim.untestable else claim.name)
    statement = f"{claim.statement} ({claim.source})" if claim.untestable else claim.statement
    reason = f"{counts} tested checks hold; others: {result.reason}" if counts else result.reason
    return name, statement, reason


def _section(result: Result, level: int = 2) -> Iterator[Block]:
    claim = result.claim
    yield Heading(claim.name, level)
    yield Paragraph(f": {claim.statement} ({claim.source})", lead=result.verdict)
    yield Paragraph(_setting(claim) + _cost(result))
    yield table(HEADS, map(_row, result.findings), figures=("criterion", "found"))


def _setting(claim: ClaimSpec) -> str:
    if claim.control:
        return f"Setting: our own. {claim.differs}".strip()
    if claim.differs:
        return f"Differences from the paper's setting: {claim.differs}"
    return "Setting: the paper's."


def _cost(result: Result) -> str:
    if result.seconds is None:
        return ""
    runs = count(len(result.claim.cells()), "run")
    return f" Measured in {runs}, in {duration(result.seconds)}."


def _row(finding: Finding) -> tuple[str, ...]:
    between = UNKNOWN if finding.value is None else interval(finding.value)
    check = finding.check
    verdict = f"{finding.verdict}: {finding.reason}" if finding.reason else finding.verdict
    reported, found = check.reported or UNKNOWN, outcome(finding)
    return describe(check), _tasks(finding), reported, bound(check), found, between, verdict


def _tasks(finding: Finding) -> str:
    """Return the task with its folds, or all tasks of a growth."""
    check, task = finding.check, finding.task
    if check.folds:
        return f"{task}, {check.folds} folds"
    return ", ".join(check.tasks_of("of", task))


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
    """Return a description of the quantity that the check measures."""
    known = {
        name: getattr(check, name)
        for name in ("of", "than", "than_on", "truth", "k", "level", "measure")
    }
    cost = BY_PLACE.get(check.figure or "")
    figure = check.figure if cost is None else cost.name
    if cost is not None and cost.unit == "bytes":
        figure = f"{figure} bytes"
    if check.than_measure:
        known["than"] = f"{check.than_measure} of {check.than}"
    if check.than_on and check.kind != "widening":
        known["than"] = f"{known['than']} on {check.than_on}"
    pairs = f"the {check.k} best of {check.truth}" if check.k else "what is judged relevant"
    text = CHECKS[check.kind].reads.format(**known, figure=figure, pairs=pairs)
    if check.unseen:
        text += ", queries with unseen relevant documents"
    if check.kind == "growth" and check.than:
        text += f" − of {check.than}"
    if check.kind == "overlap":
        text += f", its {check.at or check.k} best" + (
            f" − in {known['than']}" if check.than else ""
        )
    return text


def bound(check: CheckSpec) -> str:
    """Return the bound, such as `≥ .500`."""
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
    missing = len(result.findings) - len(known)
    counts = f"{known.count('holds')} of {len(known)}" if known else ""
    more = bool(missing and known and result.verdict != "not tested")
    return counts + (f", {missing} not tested" if more else "")
