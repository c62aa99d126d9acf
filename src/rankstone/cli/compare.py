"""`rankstone compare`: methods compared query by query."""

from __future__ import annotations

from typing import Annotated

import typer

from rankstone.cli.options import (
    FormatOption,
    OutputOption,
    ResultsOption,
    WorkspaceOption,
    chosen,
    draw,
    session,
)


def compare(
    baseline: Annotated[str, typer.Argument(help="Method to compare the others with.")],
    others: Annotated[list[str], typer.Argument(help="One method or more.")],
    on: Annotated[
        list[str] | None, typer.Option("--on", help="Tasks [all that have both].")
    ] = None,
    measure: Annotated[
        str | None, typer.Option("--measure", help="Measure [each task's headline].")
    ] = None,
    results: ResultsOption = None,
    workspace: WorkspaceOption = None,
    form: FormatOption = None,
    output: OutputOption = None,
) -> None:
    """Print differences with intervals, paired tests, effect, and the queries that changed most."""
    from rankstone.leaderboards.pages.compare import page

    form, here = chosen(form, output), session(results=results, workspace=workspace)
    found = here.compare(baseline, others, on=on, measure=measure)
    draw(page(found), form, output, name="comparison")
