"""Comparisons on the terminal, as Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from rankstone.leaderboards import numbers as figures
from rankstone.leaderboards.compare import Comparison
from rankstone.leaderboards.costs import Figure
from rankstone.leaderboards.formats.markdown import line

if TYPE_CHECKING:
    from rich.console import RenderableType

HEADS = ("method", "mean", "difference", "95% interval", "p, t-test", "p, permutation", "effect d",
         "wins/ties/losses")  # fmt: skip
SHORT = ("method", "mean", "diff.", "95% interval", "p (t)", "p (perm.)", "d", "w/t/l")
"""The same heads on a terminal."""
WIDE = 92
"""Columns of a terminal from which on the effect is shown."""
ALONE = "p values of one comparison"
TOGETHER = "p values by Holm's method over all {n} comparisons made"


def signed(value: float) -> str:
    """`+.031`, `−.004`, `.000`."""
    text = figures.quality(abs(value))
    if not any(digit in text for digit in "123456789"):
        return text
    return f"{'−' if value < 0 else '+'}{text}"


def probability(p: float) -> str:
    """Three decimals, `<.001` below."""
    if math.isnan(p):
        return figures.UNKNOWN
    return "<.001" if p < 0.001 else figures.quality(p)


def _effect(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−") if math.isfinite(value) else "∞"


def row(one: Comparison) -> tuple[str, ...]:
    """Under `HEADS`."""
    found = one.paired
    return (
        one.of,
        figures.quality(one.mean_of),
        signed(found.difference),
        f"{signed(found.low)} to {signed(found.high)}",
        probability(one.t_adjusted),
        probability(one.permutation_adjusted),
        _effect(found.effect),
        f"{found.wins}/{found.ties}/{found.losses}",
    )


def baseline_row(one: Comparison) -> tuple[str, ...]:
    """Of the method that others are held against, under `HEADS`."""
    return (one.than, figures.quality(one.mean_than), *[""] * (len(HEADS) - 2))


def _tasks(comparisons: Sequence[Comparison]) -> Iterator[tuple[str, list[Comparison]]]:
    for task, group in groupby(comparisons, key=lambda one: one.task):
        yield task, list(group)


def _title(task: str, group: Sequence[Comparison]) -> str:
    return f"{group[0].measure} · {group[0].paired.n:,} queries, paired"


def _notes(group: Sequence[Comparison], total: int) -> Iterator[str]:
    yield TOGETHER.format(n=total) if total > 1 else ALONE
    for one in group:
        yield from (f"{one.of}: {note}" for note in one.notes)


def _costs(one: Comparison) -> str:
    """`median latency, ms 9.34 against 0.265 (35.2×) · index, bytes ...`."""
    return " · ".join(map(_cost, one.figures))


def _cost(figure: Figure) -> str:
    ratio = "" if figure.ratio is None else f" ({figures.significant(figure.ratio)}×)"
    ours, theirs = (figures.significant(value) for value in (figure.of, figure.than))
    if figure.name.endswith(", bytes"):
        (unit, size) = figures.memory_unit([figure.of, figure.than])
        name = figure.name.removesuffix(", bytes")
        ours, theirs = (figures.significant(v / size) for v in (figure.of, figure.than))
        return f"{name} {ours} against {theirs} {unit}{ratio}"
    name, _, unit = figure.name.partition(", ")
    return f"{name} {ours} against {theirs} {unit}{ratio}"


def _moves(one: Comparison) -> str:
    return ", ".join(
        f"{move.query} {figures.quality(move.than)} → {figures.quality(move.of)}"
        for move in one.moved
    )


def terminal(comparisons: Sequence[Comparison], width: int = 100) -> RenderableType:
    """One table for each task, what it costs, and the queries that moved most."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    drawn: list[RenderableType] = []
    for task, group in _tasks(comparisons):
        title = Text.assemble((f" {task}", "bold"), f"  {_title(task, group)}")
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), collapse_padding=True)
        kept = [place for place in range(len(SHORT)) if width >= WIDE or SHORT[place] != "d"]
        for place in kept:
            wraps = {"overflow": "fold"} if place == 0 else {"no_wrap": True}
            table.add_column(SHORT[place], justify="right" if place else "left", **wraps)
        for cells in (baseline_row(group[0]), *map(row, group)):
            table.add_row(*(Text(cells[place]) for place in kept))
        drawn += [title, table]
        for one in group:
            drawn += [_line(f"{one.of}: {_costs(one)}")] if one.figures else []
            drawn += [_line(f"{one.of}, most changed: {_moves(one)}", "dim")] if one.moved else []
        drawn += [_line(note, "dim") for note in _notes(group, len(comparisons))]
        drawn.append(Text(""))
    return Group(*drawn)


def _line(text: str, style: str = "") -> RenderableType:
    """A sentence, indented as the table is."""
    from rich.padding import Padding
    from rich.text import Text

    return Padding(Text(text, style), (0, 0, 0, 1))


def markdown(comparisons: Sequence[Comparison]) -> str:
    """The same as pipe tables."""
    lines: list[str] = []
    for task, group in _tasks(comparisons):
        lines += [f"### {task}", "", _title(task, group), ""]
        lines += [_pipe(HEADS), _pipe(":---" if not n else "---:" for n in range(len(HEADS)))]
        lines += [_pipe(cells) for cells in (baseline_row(group[0]), *map(row, group))]
        lines.append("")
        for one in group:
            lines += [f"* {one.of}: {_costs(one)}"] if one.figures else []
            lines += [f"* {one.of}, most changed queries: {_moves(one)}"] if one.moved else []
        lines += [f"* {note}" for note in _notes(group, len(comparisons))]
        lines.append("")
    return "\n".join(lines).rstrip("\n") + "\n"


def _pipe(cells: Iterable[str]) -> str:
    return line(cell.replace("|", "\\|") for cell in cells)


def to_csv(comparisons: Sequence[Comparison]) -> str:
    """One line per comparison, full precision."""
    rows = [_flat(one) for one in comparisons]
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def to_json(comparisons: Sequence[Comparison]) -> str:
    """All of it, full precision; what is not finite is null."""
    body = [
        {
            **_flat(one),
            "moved": [move._asdict() for move in one.moved],
            "figures": [figure._asdict() for figure in one.figures],
            "notes": list(one.notes),
        }
        for one in comparisons
    ]
    return json.dumps(body, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _flat(one: Comparison) -> dict[str, Any]:
    found = {
        "task": one.task,
        "measure": one.measure,
        "of": one.of,
        "than": one.than,
        "mean_of": one.mean_of,
        "mean_than": one.mean_than,
        **one.paired._asdict(),
        "t_p_holm": one.t_adjusted,
        "permutation_p_holm": one.permutation_adjusted,
    }
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in found.items()
    }


def render(comparisons: Sequence[Comparison], form: str) -> str:
    """As text: `markdown`, `csv` or `json`."""
    return {"markdown": markdown, "csv": to_csv, "json": to_json}[form](comparisons)
