"""`rankstone compare`: methods compared query by query."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rankstone.cli.options import Format, ResultsOption, WorkspaceOption, draw, session


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
    form: Annotated[Format, typer.Option("--format", help="How to print it.")] = Format.terminal,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write to this file instead.")
    ] = None,
) -> None:
    """Print differences with intervals, paired tests, effect, and the queries that changed most."""
    from rankstone.leaderboards.pages.compare import page

    here = session(results=results, workspace=workspace)
    found = here.compare(baseline, others, on=on, measure=measure)
    chosen = "markdown" if form is Format.terminal and output is not None else form.value
    draw(page(found), chosen, output, name="comparison")
