"""`rankstone compare` and `power`: per-query comparison of methods, and its power."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rankstone.cli.options import Output, command

if TYPE_CHECKING:
    from rankstone import Session

TasksOption = Annotated[list[str] | None, typer.Option("--on", help="Tasks [all that have both].")]
MeasureOption = Annotated[
    str | None, typer.Option("--measure", help="Measure [each task's headline].")
]


@command("results", "workspace")
def compare(
    here: Session,
    out: Output,
    baseline: Annotated[str, typer.Argument(help="Baseline of the comparisons.")],
    others: Annotated[list[str], typer.Argument(help="Methods to compare with the baseline.")],
    on: TasksOption = None,
    measure: MeasureOption = None,
) -> None:
    """Compare methods by query.

    Prints differences, intervals, paired tests and the queries that differ most.
    """
    from rankstone.leaderboards.pages.compare import page

    found = here.compare(baseline, others, on=on, measure=measure)
    out.draw(page(found), "comparison")


@command("results", "workspace")
def power(
    here: Session,
    out: Output,
    method: Annotated[str, typer.Argument(help="Method with stored records.")],
    other: Annotated[
        str, typer.Argument(help="Second method; the two should differ as much as those compared.")
    ],
    on: TasksOption = None,
    difference: Annotated[
        list[float] | None,
        typer.Option("--difference", help="Difference to detect; repeatable [.01]."),
    ] = None,
    comparisons: Annotated[
        int, typer.Option("--comparisons", min=1, help="Number of comparisons made together.")
    ] = 1,
    level: Annotated[float, typer.Option("--level", help="Family-wise significance level.")] = 0.05,
    measure: MeasureOption = None,
) -> None:
    """Print the differences detectable on a task's queries."""
    from rankstone.leaderboards.pages.power import page
    from rankstone.leaderboards.power import Setting

    sought = tuple(difference or (0.01,))
    found = here.power(
        method, other, on=on, differences=sought, comparisons=comparisons, level=level,
        measure=measure,
    )  # fmt: skip
    out.draw(page(found, Setting(sought, comparisons, level)), "power")
