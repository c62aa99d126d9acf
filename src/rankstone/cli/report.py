"""`rankstone report` and `rankstone site`: records as one page, and as a folder of pages."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from rankstone.cli.options import (
    CacheOption,
    DataOption,
    ResultsOption,
    WorkspaceOption,
    session,
    stdout,
    write,
)


def report(
    methods: Annotated[list[str] | None, typer.Argument(help="Methods [all with records].")] = None,
    on: Annotated[list[str] | None, typer.Option("--on", help="Tasks [all with records].")] = None,
    baseline: Annotated[
        str | None, typer.Option("--baseline", help="Method to compare the others with.")
    ] = None,
    title: Annotated[str, typer.Option("--title", help="Of the page.")] = "Retrieval report",
    results: ResultsOption = None,
    workspace: WorkspaceOption = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="FILE.md or FILE.html [print Markdown].")
    ] = None,
) -> None:
    """Write methods, tasks, settings, tables, plots, comparisons and caveats in one page."""
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


def site(
    results: ResultsOption = None,
    data: DataOption = None,
    cache: CacheOption = None,
    workspace: WorkspaceOption = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the pages; an older site is replaced.")
    ] = Path("site"),
    pairs: Annotated[
        int,
        typer.Option(
            "--pairs",
            min=0,
            max=50,
            help="Best methods per data set of which every two have a page.",
        ),
    ] = 5,
) -> None:
    """Write all records as one folder of static pages: open its index.html, or serve it as it is.

    Query and document texts stand on the pages of pairs where their data set is within reach.
    """  # fmt: skip
    here = session(results=results, data=data, cache=cache, workspace=workspace)
    built = here.site(output, pairs=pairs)
    message = (
        f"site: {built.start}  ({built.methods:,} methods, {built.tasks:,} data sets,"
        f" {built.records:,} records, {built.pairs:,} pairs)"
    )
    stdout().print(message, highlight=False, markup=False, soft_wrap=True)
