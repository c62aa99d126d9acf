"""Marks in a column: best, second best, and letters of methods that are significantly below."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations, count, islice, product
from string import ascii_lowercase
from typing import NamedTuple

import numpy as np

from rankstone.errors import ResultsError
from rankstone.evaluation.family import holm
from rankstone.evaluation.sign_flips import p_two_sided
from rankstone.leaderboards.compare import obstacles, paired_values, values_of
from rankstone.leaderboards.document import Cell, Mark
from rankstone.results.store import Found, Stored


def marked(
    texts: Sequence[str],
    values: Sequence[float | None],
    *,
    higher_is_better: bool = True,
    second: bool = False,
    close: Sequence[bool] = (),
) -> list[Mark]:
    """Return the marks of a column.

    Values that are displayed like the best, or not significantly below it, are marked as best. A
    column with fewer than two competing values has no marks.

    Args:
        texts: Cells as displayed.
        values: Their figures; None for values that do not compete.
        second: Mark the second best, if there is a third.
        close: True for each value that is not significantly below the best; empty if untested.
    """
    known = sorted({value for value in values if value is not None}, reverse=higher_is_better)
    if sum(value is not None for value in values) < 2:
        return [""] * len(texts)
    ranks = list(dict.fromkeys(texts[list(values).index(value)] for value in known))
    marks: dict[str, Mark] = {ranks[0]: "best"}
    if second and len(ranks) > 2:
        marks[ranks[1]] = "second"
    near = close or [False] * len(texts)
    return [
        "" if value is None else "best" if tied else marks.get(text, "")
        for text, value, tied in zip(texts, values, near, strict=True)
    ]


def legend_of(marks: Collection[Mark], level: float | None) -> Iterator[str]:
    """Yield notes that explain the marks, and the letters if methods were tested at `level`."""
    if level is not None:
        yield (
            "letters: significantly above the method with that letter (paired sign-flip test at"
            f" {level:g}, by Holm's method over all pairs of the board)"
        )
    if "best" in marks:
        tested = ", and values not significantly below the best" if level is not None else ""
        second = "; underlined: the second best" if "second" in marks else ""
        yield f"bold: the best of its column{tested}{second}"


def marked_cells(
    column: Sequence[Cell],
    competing: Sequence[float | None] | None = None,
    *,
    higher_is_better: bool = True,
    second: bool = True,
    close: Sequence[bool] = (),
) -> list[Cell]:
    """Return the column, marked by the figures `competing`, or by its own."""
    values = [number(cell) for cell in column] if competing is None else competing
    texts = [cell.text for cell in column]
    marks = marked(texts, values, higher_is_better=higher_is_better, second=second, close=close)
    return [replace(cell, mark=mark) for cell, mark in zip(column, marks, strict=True)]


def number(cell: Cell) -> float | None:
    return cell.value if isinstance(cell.value, float) else None


def letters(n: int) -> list[str]:
    """Return `n` distinct names: `a` to `z`, then `aa`, `ab` and so on."""
    names = ("".join(name) for size in count(1) for name in product(ascii_lowercase, repeat=size))
    return list(islice(names, n))


class Column(NamedTuple):
    """A measure of a task on a leaderboard."""

    task: str
    measure: str | None
    """None: the task's headline."""

    def measure_of(self, stored: Stored) -> str:
        return self.measure or stored[0].task.headline


class Tested(NamedTuple):
    """Test of two methods in a column."""

    better: str
    worse: str
    column: Column
    adjusted: float
    """p value adjusted by Holm's method over all pairs of the leaderboard."""


def tested_pairs(
    columns: Sequence[Column], names: Sequence[str], cells: Found, notes: list[str]
) -> list[Tested]:
    """Test all pairs of a leaderboard; pairs that cannot be tested are listed in `notes`."""
    pairs, p_values = list[Tested](), list[float]()
    for column, (one, other) in product(columns, combinations(names, 2)):
        found = _tested(
            column, cells.get((one, column.task)), cells.get((other, column.task)), notes
        )
        if found is not None:
            better, worse = (one, other) if found[0] > 0 else (other, one)
            pairs.append(Tested(better, worse, column, 1.0))
            p_values.append(found[1])
    return [pair._replace(adjusted=p) for pair, p in zip(pairs, holm(p_values), strict=True)]


def letters_below(
    names: Sequence[str], pairs: Sequence[Tested], level: float
) -> dict[tuple[str, Column], str]:
    """Return (method, column) -> letters of the methods that it is significantly above."""
    below: dict[tuple[str, Column], list[str]] = {}
    for pair in pairs:
        if pair.adjusted <= level:
            below.setdefault((pair.better, pair.column), []).append(pair.worse)
    known = dict(zip(names, letters(len(names)), strict=True))
    separator = "" if len(names) <= len(ascii_lowercase) else ","
    return {
        cell: separator.join(letter for name, letter in known.items() if name in worse)
        for cell, worse in below.items()
    }


def close_to_best(
    pairs: Sequence[Tested], column: Column, values: Mapping[str, float | None], level: float
) -> set[str]:
    """Return the methods that were tested against the best of a column and are not significantly
    below it."""
    best = max((v for v in values.values() if v is not None), default=None)
    return {
        pair.worse
        for pair in pairs
        if pair.column == column and values.get(pair.better) == best and pair.adjusted > level
    }


def not_below(
    best: Mapping[str, Stored],
    others: Sequence[Mapping[str, Stored]],
    shares: Mapping[str, float],
    measure: str | None = None,
    level: float = 0.05,
) -> list[bool] | None:
    """Return for each of `others` if its mean over tasks is not significantly below that of `best`.

    The sign-flip test uses the differences of all queries, weighted as in the mean; p values are
    adjusted by Holm's method over `others`. A method that cannot be paired counts as below.

    Args:
        best, others: Records, by the keys of `shares`.
        shares: Weight of each task in the mean.
        measure: None: the headline of each task.

    Returns:
        None if the best has no per-query values, so that nothing can be tested.
    """
    try:
        ours = {key: values_of(best[key], _named(best[key], measure)) for key in shares}
    except ResultsError:
        return None
    p_values = [_p_of_mean(best, other, ours, shares, measure) for other in others]
    able = [p for p in p_values if p is not None]
    adjusted = iter(holm(able))
    return [p is not None and next(adjusted) > level for p in p_values]


def _named(stored: Stored, measure: str | None) -> str:
    return measure or stored[0].task.headline


def _p_of_mean(
    best: Mapping[str, Stored],
    other: Mapping[str, Stored],
    ours: Mapping[str, Mapping[str, float]],
    shares: Mapping[str, float],
    measure: str | None,
) -> float | None:
    """Return the p value of equal means; None if the two cannot be paired."""
    differences, weights = list[float](), list[float]()
    for key, share in shares.items():
        try:
            theirs = values_of(other[key], _named(other[key], measure))
        except ResultsError:
            return None
        if any(obstacles(best[key][0], other[key][0])) or theirs.keys() != ours[key].keys():
            return None
        differences += [value - theirs[query] for query, value in ours[key].items()]
        weights += [share / len(theirs)] * len(theirs)
    return p_two_sided(np.array(differences), np.array(weights))


def _tested(
    column: Column, one: Stored | None, other: Stored | None, notes: list[str]
) -> tuple[float, float] | None:
    """Return the mean difference and p value; None, with a note, if the two cannot be paired."""
    if one is None or other is None:
        return None
    try:
        reason = next(obstacles(one[0], other[0]), None)
        if reason is not None:
            raise ResultsError(reason)
        _, of, than = paired_values(one, other, column.measure_of(one))
    except ResultsError as error:
        names = f"{one[0].method.name} and {other[0].method.name} on {one[0].task.name}"
        notes.append(f"not tested: {names}: {error}")
        return None
    return float((of - than).mean()), p_two_sided(of - than)
