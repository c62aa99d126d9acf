"""Results of claims as a page, as lines on the terminal, and as JSON that both are made from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rankstone.leaderboards import numbers as figures
from rankstone.leaderboards.costs import BY_PLACE
from rankstone.leaderboards.numbers import UNKNOWN
from rankstone.leaderboards.papers.checks import CHECKS, Value
from rankstone.leaderboards.papers.claims import (
    CheckSpec,
    Finding,
    Result,
)  # fmt: skip

ORDER = ("holds", "does not hold", "not testable here")
QUOTIENTS = ("share", "ratio", "candidates", "multiply-adds")


def markdown(results: Sequence[Result]) -> str:
    """The page `claims.md`."""
    lines = [
        "# Claims",
        "",
        "Each paper's headline as a relation between runs, tested on the data named with it. A"
        " claim holds where every check of it does, on every task. Intervals are 95%, by paired"
        " bootstrap over queries; where one lies on both sides of the bound, the check is not"
        " clear.",
        "",
        "| claim | verdict | checks that hold |",
        "|---|---|---|",
        *(
            f"| [{r.claim.name}](#{r.claim.name}) | {_bold(r)} | {_score(r)} |"
            for r in _sorted(results)
        ),
    ]
    for result in _sorted(results):
        lines += ["", *_section(result)]
    return "\n".join(lines) + "\n"


def _section(result: Result) -> Iterator[str]:
    claim = result.claim
    yield f"## {claim.name}"
    yield ""
    yield f"**{result.verdict}**: {claim.statement} ({claim.source})"
    if claim.differs:
        yield ""
        yield f"How this test differs: {claim.differs}"
    if claim.untestable:
        yield ""
        yield f"Not testable: {claim.untestable}"
        return
    yield ""
    yield "| check | on | found | 95% interval | claimed | holds |"
    yield "|---|---|--:|---|--:|---|"
    for finding in result.findings:
        yield "| " + " | ".join(_row(finding)) + " |"


def _row(finding: Finding) -> tuple[str, ...]:
    what = describe(finding.check)
    if finding.value is None:
        reason = finding.reason.replace("|", "\\|")
        return what, finding.task, UNKNOWN, UNKNOWN, bound(finding.check), f"not testable: {reason}"
    held = "yes" if finding.holds else "no"
    return (
        what,
        finding.task,
        found(finding),
        interval(finding.value),
        bound(finding.check),
        held if finding.clear else f"{held}, not clear",
    )


def describe(check: CheckSpec) -> str:
    """What the check measures, in words."""
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
        return f"≥ {figures.fixed(check.at_least)}"
    return f"≤ {figures.fixed(check.at_most or 0.0)}"


def found(finding: Finding) -> str:
    """The value, and what it was made of."""
    value = finding.value
    if value is None:
        return UNKNOWN
    if not value.parts:
        return figures.fixed(value.value)
    sign = "÷" if finding.check.kind in QUOTIENTS else "−"
    return f"{figures.fixed(value.value)} = {f' {sign} '.join(map(figures.fixed, value.parts))}"


def interval(value: Value) -> str:
    if value.low is None or value.high is None:
        return UNKNOWN
    return f"{figures.fixed(value.low)} to {figures.fixed(value.high)}"


def _sorted(results: Sequence[Result]) -> list[Result]:
    return sorted(results, key=lambda r: (ORDER.index(r.verdict), r.claim.name))


def _bold(result: Result) -> str:
    return f"**{result.verdict}**" if result.verdict != ORDER[-1] else result.verdict


def _score(result: Result) -> str:
    known = [finding.holds for finding in result.findings if finding.holds is not None]
    if not known or result.verdict == "not testable here":
        counts = f"{sum(known)} of {len(known)}; " if known else ""
        return counts + result.reason.replace("|", "\\|")
    missing = len(result.findings) - len(known)
    return f"{sum(known)} of {len(known)}" + (f", {missing} not testable" if missing else "")


STYLES = dict(zip(ORDER, ("green", "bold red", "dim"), strict=True))


def terminal(results: Sequence[Result], width: int) -> Any:
    """The verdicts, and below each what every check found, for rich to print."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    parts: list[Any] = []
    for result in _sorted(results):
        head = Text.assemble((result.claim.name, "bold"), "  ")
        head.append(result.verdict, STYLES[result.verdict])
        if not result.findings:
            head.append(f": {result.reason}")
        checks = Table.grid(padding=(0, 1))
        checks.width = min(width, 140)
        checks.add_column(no_wrap=True)
        checks.add_column(overflow="fold", ratio=1)
        for finding in result.findings:
            checks.add_row(*map(Text, _lines(finding)))
        parts += [head, checks] if result.findings else [head]
    return Group(*parts)


def _lines(finding: Finding) -> tuple[str, str]:
    """Whether one check holds, and what it found where."""
    held = {True: " yes", False: " no", None: f" {UNKNOWN}"}[finding.holds]
    what = f"{finding.task}: {describe(finding.check)}"
    if finding.value is None:
        return held, f"{what}\n  {finding.reason}"
    between = interval(finding.value)
    between = "" if between == UNKNOWN else f" ({between}{'' if finding.clear else ', not clear'})"
    return held, f"{what}\n  {found(finding)}{between}, claimed {bound(finding.check)}"
