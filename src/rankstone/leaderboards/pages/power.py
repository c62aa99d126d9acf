"""Page of a power analysis."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rankstone.evaluation.power import POWER
from rankstone.evaluation.sign_flips import least_moved
from rankstone.leaderboards.document import Page, Paragraph, table
from rankstone.leaderboards.numbers import UNKNOWN, finite, fixed, quality, signed
from rankstone.leaderboards.power import Power, Setting

HEADS = (
    "task", "measure", "queries", "of which\ndiffer", "mean\ndifference", "standard\ndeviation",
    "detectable\ndrop", "detectable\ndifference",
)  # fmt: skip


def page(powers: Sequence[Power], setting: Setting) -> Page:
    """Return one row per task."""
    sought = tuple(f"queries\nfor {fixed(d)}" for d in setting.differences)
    heads = (*HEADS, *sought)
    rows = tuple(_flat(one, setting) for one in powers)
    title = f"{powers[0].of} and {powers[0].than}"
    return Page(
        title=f"Power of comparisons like that of {title}",
        blocks=(
            Paragraph(lead=_lead(setting)),
            table(heads, map(_cells, powers), figures=heads[2:], notes=_notes(powers, setting)),
        ),
        fields=tuple(rows[0]),
        rows=rows,
    )


def _lead(setting: Setting) -> str:
    family = f"one comparison, at level {setting.level:g}"
    if setting.comparisons > 1:
        family = (
            f"each of {setting.comparisons:,} comparisons, at family-wise level {setting.level:g}"
        )
    return f"Differences that are shown with {POWER:.0%} power by {family}."


def _cells(one: Power) -> tuple[str, ...]:
    return (
        one.task,
        one.measure,
        f"{one.n:,}",
        f"{one.moved:,}",
        signed(one.difference),
        quality(one.deviation),
        *(
            fixed(value) if math.isfinite(value) else UNKNOWN
            for value in (one.detectable_drop, one.detectable_difference)
        ),
        *(f"{int(value):,}" if math.isfinite(value) else UNKNOWN for value in one.needed),
    )


def _notes(powers: Sequence[Power], setting: Setting) -> Iterator[str]:
    share = setting.level / setting.comparisons
    yield (
        "drop: by the gate's one-sided test, beyond its allowance; difference, and queries for it:"
        " by the two-sided test of compare"
    )
    yield (
        "for methods whose differences vary as much as those of these two, on queries like these;"
        " the measured mean difference is not used"
    )
    for one in powers:
        if not one.moved:
            yield f"{one.task}: no query differs, so the variance is unknown"
        elif one.moved < least_moved(share / 2):
            yield (
                f"{one.task}: no test can reach this level unless at least"
                f" {least_moved(share / 2)} queries differ; {one.moved} do"
            )


def _flat(one: Power, setting: Setting) -> dict[str, object]:
    found = {name: value for name, value in one._asdict().items() if name != "needed"}
    sought = {f"queries_for_{d:g}": n for d, n in zip(setting.differences, one.needed, strict=True)}
    plan = {"comparisons": setting.comparisons, "level": setting.level, "power": POWER}
    return finite({**found, **plan, **sought})
