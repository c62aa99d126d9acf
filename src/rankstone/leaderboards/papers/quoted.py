"""Published values given by the user: a number with its rounding, or a cell of a paper's table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal, InvalidOperation

from rankstone.errors import DefinitionError
from rankstone.evaluation.explanation import Published
from rankstone.leaderboards.papers.tables import PaperSpec, RowSpec
from rankstone.results.record import RunRecord


def stated(given: str | float) -> Published | None:
    """Parse `given` as a number, with half a unit of its last decimal as tolerance; None if it
    is not a number.

    Values above 1 are read as percentages.
    """
    try:
        number = Decimal(str(given))
    except InvalidOperation:
        return None
    if not number.is_finite():
        return None
    source = ""
    if number > 1:
        number, source = number / 100, f"{given}, read as a percentage"
    decimals = max(0, -int(number.as_tuple().exponent))
    return Published(
        value=float(number), tolerance=0.5 * 10.0**-decimals, source=source, decimals=decimals
    )


def of_table(given: str, papers: Iterable[PaperSpec], record: RunRecord, measure: str) -> Published:
    """Return the value of `TABLE`, a table's name or a part of it, or of `TABLE:ROW`.

    A named row may belong to any method; otherwise the row of the record's method is used.

    Raises:
        DefinitionError: no row matches, or rows with different values do.
    """
    table, _, row = given.partition(":")
    every = list(papers)
    named = [p for p in every if p.name == table] or [p for p in every if table in p.name]
    if not named:
        raise DefinitionError(
            f"--published {given}: no number, and no table of that name."
            " Name a number or a table. (rankstone reproduce --list)"
        )
    found = [(paper, one) for paper in named for one in _rows(paper, row, record)]
    task = record.task.name.partition("@")[0]
    values = [(p, r, r.expected[task]) for p, r in found if r.measure == measure]
    if not values:
        known = sorted({r.measure for _, r in found})
        other = f"; it has {', '.join(known)}: --measure" if known else ""
        raise DefinitionError(
            f"--published {given}: no {measure} of {row or record.method.name} on {task}{other}."
        )
    if len({value for _, _, value in values}) > 1:
        cells = "; ".join(f"'{p.name}:{r.row}' {value}" for p, r, value in values)
        raise DefinitionError(f"--published {given} matches several values. Name one: {cells}")
    paper, chosen, value = values[0]
    return Published(
        value=value,
        tolerance=0.5 * 10.0**-paper.digits,
        source=f"{paper.source}, {chosen.row}",
        decimals=paper.digits,
    )


def _rows(paper: PaperSpec, row: str, record: RunRecord) -> Iterator[RowSpec]:
    method, task = record.method.name.partition("+")[0], record.task.name.partition("@")[0]
    for one in paper.rows:
        if task in one.expected and (one.row == row if row else one.method == method):
            yield one
