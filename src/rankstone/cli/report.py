"""`rankstone report`: one page to attach to a paper or a pull request."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from rankstone.cli.leaderboard import stdout, write
from rankstone.cli.options import ResultsOption, WorkspaceOption, session


def report(
    methods: Annotated[list[str] | None, typer.Argument(help="Methods [all with records].")] = None,
    on: Annotated[list[str] | None, typer.Option("--on", help="Tasks [all with records].")] = None,
    baseline: Annotated[
        str | None, typer.Option("--baseline", help="Method to hold the others against.")
    ] = None,
    title: Annotated[str, typer.Option("--title", help="Of the page.")] = "Retrieval report",
    results: ResultsOption = None,
    workspace: WorkspaceOption = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="FILE.md or FILE.html [print Markdown].")
    ] = None,
) -> None:
    """What was compared, on what, how; tables, plots, comparisons and caveats, in one page."""
    from rankstone.leaderboards.formats.render import render
    from rankstone.leaderboards.pages.plots import can_plot

    if output is not None and output.suffix not in (".md", ".html"):
        raise typer.BadParameter(f"{output}: a report is FILE.md or FILE.html")
    here = session(results=results, workspace=workspace)
    page = here.report(methods, on, baseline=baseline, title=title)
    if output is None:
        sys.stdout.write(render(page, "markdown"))
        return
    if output.suffix == ".html":
        write(output, render(page, "html"))
    else:
        write(output, render(page, "markdown"))
        for name, svg in page.pictures.items():
            write(output.with_name(name), svg)
    stdout().print(f"report: {output}", highlight=False, soft_wrap=True)
    if not can_plot():
        typer.echo("without plots: pip install 'rankstone[site]'", err=True)
