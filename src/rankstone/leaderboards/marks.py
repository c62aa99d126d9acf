"""Marks in a column: the best, the second best, and letters that stand for methods."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count, islice, product
from string import ascii_lowercase

from rankstone.leaderboards.document import Mark


def marked(
    texts: Sequence[str],
    values: Sequence[float | None],
    *,
    higher_is_better: bool = True,
    second: bool = False,
    close: Sequence[bool] = (),
) -> list[Mark]:
    """The marks of a column: all that read like the best, or are close to it, are the best.

    Args:
        texts: the cells as they are read.
        values: their figures; None for what does not compete.
        second: whether the second best is marked, where a third is below it.
        close: True for each that is not significantly below the best; empty where nothing is known.

    A column with fewer than two competitors has no marks.
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


def letters(n: int) -> list[str]:
    """`n` different names: `a` to `z`, then `aa`, `ab` and so on."""
    names = ("".join(name) for size in count(1) for name in product(ascii_lowercase, repeat=size))
    return list(islice(names, n))
