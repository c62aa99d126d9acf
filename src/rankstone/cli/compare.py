"""`rankstone compare` and `power`: methods compared query by query, and what that can show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rankstone.cli.options import Output, command

if TYPE_CHECKING:
    from rankstone import Session


@command("results", "workspace")
def compare(
    here: Session,
    out: Output,
    baseline: Annotated[str, typer.Argument(help="Method to compare the others with.")],
    others: Annotated[list[str], typer.Argument(help="One method or more.")],
    on: Annotated[
        list[str] | None, typer.Option("--on", help="Tasks [all that have both].")
    ] = None,
    measure: Annotated[
        str | None, typer.Option("--measure", help="Measure [each task's headline].")
    ] = None,
) -> None:
    """Print differences with intervals, paired tests, effect, and the queries that changed most."""
    from rankstone.leaderboards.pages.compare import page

    found = here.compare(baseline, others, on=on, measure=measure)
    out.draw(page(found), "comparison")


@command("results", "workspace")
def power(
    here: Session,
    out: Output,
    method: Annotated[str, typer.Argument(help="Method with stored records.")],
    other: Annotated[str, typer.Argument(help="Another, that differs as those to be compared.")],
    on: Annotated[
        list[str] | None, typer.Option("--on", help="Tasks [all that have both].")
    ] = None,
    difference: Annotated[
        list[float] | None,
        typer.Option("--difference", help="Count the queries that show it; repeat it [.01]."),
    ] = None,
    comparisons: Annotated[
        int, typer.Option("--comparisons", min=1, help="Comparisons that are made together.")
    ] = 1,
    level: Annotated[float, typer.Option("--level", help="Level of all together.")] = 0.05,
    measure: Annotated[
        str | None, typer.Option("--measure", help="Measure [each task's headline].")
    ] = None,
) -> None:
    """Print the drop that the queries can show, and the queries that a difference needs."""
    from rankstone.leaderboards.pages.power import page
    from rankstone.leaderboards.power import Setting

    sought = tuple(difference or (0.01,))
    found = here.power(
        method, other, on=on, differences=sought, comparisons=comparisons, level=level,
        measure=measure,
    )  # fmt: skip
    out.draw(page(found, Setting(sought, comparisons, level)), "power")
