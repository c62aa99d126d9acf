"""`rankstone compare`: methods compared query by query."""

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
