"""Page of an explanation: causes sorted by the share of the gap they close, and caveats."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import asdict

from rankstone.evaluation.explanation import LIKELY, Attempt, Explanation
from rankstone.leaderboards.document import Block, Cell, Heading, Items, Page, Paragraph, table
from rankstone.leaderboards.numbers import count, fixed, signed

SHOWN = 10
"""Number of values that are listed; the rest is counted."""
ALIKE = 3
"""Number of causes of one value that are listed; the rest is counted."""
HEADS = ("cause", "value", "difference", "of the gap", "")
FIELDS = ("kind", "causes", "value", "closed", "matches", "estimated")


def page(found: Explanation) -> Page:
    """Return the verdict, the causes, those not tried, and the facts of the record."""
    blocks: list[Block] = [Paragraph(_sentence(found), lead=f"{found.verdict}:")]
    if found.verdict != "no gap":
        nearer = [one for one in (*found.pairs, *found.singles) if one.closed > 0]
        shown = sorted(nearer, key=lambda one: -one.closed)[:SHOWN]
        if shown:
            blocks.append(table(HEADS, (_row(one, found) for one in shown), figures=HEADS[1:4]))
        blocks.append(Items(tuple(_cautions(found, len(shown)))))
        blocks += _untried(found) if found.untried else ()
    if found.facts:
        blocks += [Heading("from the record"), Items(found.facts)]
    return Page(
        title=f"{found.measure} of {found.method} on {found.task}",
        blocks=tuple(blocks),
        fields=FIELDS,
        rows=tuple(_values(found)),
        body={**asdict(found), "gap": found.gap, "verdict": found.verdict},
    )


def _sentence(found: Explanation) -> str:
    published, decimals, nearest = found.published, _decimals(found), found.nearest
    source = f" ({published.source})" if published.source else ""
    values = (
        f" {fixed(found.ours, decimals)} here, {fixed(published.value, published.decimals)}"
        f" published{source}"
    )
    if found.verdict == "no gap":
        return f"{values}: equal within the rounding of the published value."
    gap = f"{values}, a gap of {signed(found.gap, decimals)}."
    match found.verdict:
        case "closes the gap":
            n = sum(one.matches for one in found.singles)
            more = f" {n} different values round to it." if n > 1 else ""
            words = _names(found.singles[0])
            return f"{gap} {words}: within the rounding of the published value.{more}"
        case "a pair closes the gap":
            return f"{gap} No single cause does. {_names(found.pairs[0])}: within its rounding."
    if nearest is None:
        return f"{gap} None brings the value nearer."
    return f"{gap} The nearest is {_names(nearest)}, which closes {nearest.closed:.0%} of it."


def _untried(found: Explanation) -> list[Block]:
    """Return the table of causes that were not computed, and the commands that try them."""
    settings = (" ".join(f"--set {shlex.quote(s)}" for s in one.settings) for one in found.untried)
    rows = [(one.cause, one.why, text) for one, text in zip(found.untried, settings, strict=True)]
    can_run = any(one.settings for one in found.untried)
    command = f"rankstone run {found.method} --on {found.task} --set KEY=VALUE"
    notes = [f"one at a time: {command}; all: rankstone explain ... --rerun"] if can_run else []
    return [Heading("not tried"), table(("cause", "why", "settings"), rows, notes=notes)]


def _row(one: Attempt, found: Explanation) -> tuple[str | Cell, ...]:
    decimals = _decimals(found)
    note = "estimated" if one.estimated else ""
    mark: Cell = Cell(text="closes it", mark="passed") if one.matches else Cell(text=note)
    return (
        _names(one),
        ("≈ " if one.estimated else "") + fixed(one.value, decimals),
        signed(one.value - found.published.value, decimals),
        f"{one.closed:.0%}",
        mark,
    )


def _names(one: Attempt) -> str:
    more = len(one.causes) - ALIKE
    names = [*one.causes[:ALIKE], *([count(more, "other")] if more > 0 else [])]
    return "; or ".join(names)


def _cautions(found: Explanation, shown: int) -> Iterator[str]:
    """Yield the number of causes tried, and the probability of such a match by chance."""
    others = len(found.singles) + len(found.pairs) - shown
    yield (
        f"{found.n_tried:,} causes tried: {len(found.unmoved):,} do not change the value;"
        f" {count(others, 'other value')} not shown {'is' if others == 1 else 'are'} further away"
    )
    if found.n_pairs:
        yield f"{found.n_pairs:,} pairs of causes tried, as no single one closes the gap"
    yield (
        f"by chance, {found.chance:.1%} of the values as near to ours as the published one would be"
        f" matched within ±{found.within:.2g}"
        + (": this may be chance" if found.chance > LIKELY else "")
    )
    if found.verdict in ("closes the gap", "a pair closes the gap"):
        yield "a match is a hypothesis, not a proof: check the rule in the publication"


def _values(found: Explanation) -> Iterator[dict[str, object]]:
    kinds = (("single", found.singles), ("pair", found.pairs))
    for kind, attempts in kinds:
        for one in attempts:
            yield {"kind": kind, **asdict(one), "causes": "; or ".join(one.causes)}


def _decimals(found: Explanation) -> int:
    """Return the published number of decimals plus one, limited to four to six."""
    return min(max(4, found.published.decimals + 1), 6)
