"""`rankstone compare`: methods against each other, query by query."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from rankstone.cli.leaderboard import stdout, write
from rankstone.cli.options import ResultsOption, WorkspaceOption, session


class ComparisonFormat(StrEnum):
    terminal = "terminal"
    markdown = "markdown"
    csv = "csv"
    json = "json"


def compare(
    baseline: Annotated[str, typer.Argument(help="The method that others are held against.")],
    others: Annotated[list[str], typer.Argument(help="One method or more.")],
    on: Annotated[
        list[str] | None, typer.Option("--on", help="Tasks [all that have both].")
    ] = None,
    measure: Annotated[
        str | None, typer.Option("--measure", help="Measure [each task's headline].")
    ] = None,
    results: ResultsOption = None,
    workspace: WorkspaceOption = None,
    form: Annotated[
        ComparisonFormat, typer.Option("--format", help="How to print it.")
    ] = ComparisonFormat.terminal,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write to this file instead.")
    ] = None,
) -> None:
    """Differences with intervals, paired tests, effect, and the queries that changed most."""
    from rankstone.leaderboards.pages.compare import render, terminal

    here = session(results=results, workspace=workspace)
    found = here.compare(baseline, others, on=on, measure=measure)
    if form is ComparisonFormat.terminal and output is None:
        console = stdout()
        console.print(terminal(found, console.width), highlight=False)
        return
    chosen = ComparisonFormat.markdown if form is ComparisonFormat.terminal else form
    text = render(found, chosen.value)
    if output is None:
        sys.stdout.write(text)
        return
    write(output, text)
    stdout().print(f"comparison: {output}", highlight=False, soft_wrap=True)
