"""Page of comparisons."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

from rankstone.leaderboards import numbers as figures
from rankstone.leaderboards.compare import Comparison
from rankstone.leaderboards.costs import Figure
from rankstone.leaderboards.document import Cell, Column, Page, Table
from rankstone.leaderboards.numbers import finite, signed

COLUMNS = (
    Column(heading=("method",), left=True),
    Column(heading=("mean",)),
    Column(heading=("difference",), short=("diff.",)),
    Column(heading=("95% interval",)),
    Column(heading=("p",)),
    Column(heading=("adjusted p",), short=("adj. p",)),
    Column(heading=("effect d",), short=("d",), priority=2),
    Column(heading=("wins/ties/losses",), short=("w/t/l",), priority=1),
)
PLAIN = ("task", "measure", "of", "than", "mean_of", "mean_than")
FAMILY = (
    "p: two-sided sign-flip test, whose inversion is the interval; adjusted by Holm's method over"
    " the {n} made together"
)
FEW = "{name}: only {n} queries differ, too few for the interval to be trusted"


def probability(p: float) -> str:
    """Return a p value with three decimals; `<.001` for smaller ones."""
    if math.isnan(p):
        return figures.UNKNOWN
    return "<.001" if p < 0.001 else figures.quality(p)


def _effect(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−") if math.isfinite(value) else "∞"


def _end(value: float) -> str:
    return signed(value) if math.isfinite(value) else figures.UNKNOWN


def row(one: Comparison) -> tuple[str, ...]:
    """Return the comparison as a row of `COLUMNS`."""
    found = one.paired
    return (
        one.of,
        figures.quality(one.mean_of),
        signed(found.difference),
        f"{_end(found.low)} to {_end(found.high)}",
        probability(found.p),
        probability(one.adjusted),
        _effect(found.effect),
        f"{found.wins}/{found.ties}/{found.losses}",
    )


def baseline_row(one: Comparison) -> tuple[str, ...]:
    """Return the baseline's row."""
    return (one.than, figures.quality(one.mean_than), *[""] * (len(COLUMNS) - 2))


def _notes(group: Sequence[Comparison], total: int) -> Iterator[str]:
    for one in group:
        yield from [f"{one.of}: {' · '.join(map(_cost, one.figures))}"] if one.figures else []
        yield from (f"{one.of}, {part}" for part in _moves(one))
    yield FAMILY.format(n=f"{total} comparisons" if total > 1 else "one comparison")
    for one in group:
        if one.paired.few:
            yield FEW.format(name=one.of, n=one.paired.wins + one.paired.losses)
    for one in group:
        yield from (f"{one.of}: {note}" for note in one.notes)


def _cost(figure: Figure) -> str:
    """Return `median latency 9.34 against 0.265 ms (35.2×)`."""
    ratio = "" if figure.ratio is None else f" ({figures.significant(figure.ratio)}×)"
    (name, _, unit), size = figure.name.partition(", "), 1
    if unit == "bytes":
        unit, size = figures.memory_unit([figure.of, figure.than])
    ours = figures.flagged(figure.of / size, figure.of_mark)
    theirs = figures.flagged(figure.than / size, figure.than_mark)
    return f"{name} {ours} against {theirs} {unit}{ratio}"


def _moves(one: Comparison) -> Iterator[str]:
    """Yield `largest of 70 drops: q48: 1.000 → .000, ...`, then the same for rises."""
    for name, total, sign in (("drops", one.paired.losses, -1), ("rises", one.paired.wins, 1)):
        moves = [move for move in one.moved if sign * (move.of - move.than) > 0]
        texts = ", ".join(
            f"{move.query}: {figures.quality(move.than)} → {figures.quality(move.of)}"
            for move in moves
        )
        yield from [f"largest of {total:,} {name}: {texts}"] if moves else []


def page(comparisons: Sequence[Comparison]) -> Page:
    """Return a table for each task, with costs, queries with the largest changes, and notes."""
    rows = tuple(map(_flat, comparisons))
    groups = [(task, list(own)) for task, own in groupby(comparisons, key=lambda one: one.task)]
    return Page(
        blocks=tuple(
            table(group, title=task, notes=_notes(group, len(comparisons)))
            for task, group in groups
        ),
        fields=tuple(rows[0]) if rows else (),
        rows=rows,
        body=[_body(one) for one in comparisons],
    )


def table(group: Sequence[Comparison], *, title: str = "", notes: Iterable[str] = ()) -> Table:
    """Return the table of the comparisons of one task."""
    texts = (baseline_row(group[0]), *map(row, group))
    return Table(
        title=title,
        subtitle=f"{group[0].measure} · {group[0].paired.n:,} queries, paired" if title else "",
        columns=COLUMNS,
        rows=tuple(tuple(Cell(text=text) for text in cells) for cells in texts),
        notes=tuple(notes),
    )


def _body(one: Comparison) -> dict[str, Any]:
    return {
        **_flat(one),
        "moved": [move._asdict() for move in one.moved],
        "figures": [figure._asdict() for figure in one.figures],
        "notes": list(one.notes),
    }


def _flat(one: Comparison) -> dict[str, Any]:
    found = {
        **{name: getattr(one, name) for name in PLAIN},
        **one.paired._asdict(),
        "adjusted_p": one.adjusted,
    }
    return finite(found)
