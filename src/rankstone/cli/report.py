"""`rankstone report` and `rankstone site`: records as one page, and as a folder of pages."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rankstone.cli.options import Format, Output, command, echo

if TYPE_CHECKING:
    from rankstone import Session


@command("results", "workspace", default=Format.markdown)
def report(
    here: Session,
    out: Output,
    methods: Annotated[list[str] | None, typer.Argument(help="Methods [all with records].")] = None,
    on: Annotated[list[str] | None, typer.Option("--on", help="Tasks [all with records].")] = None,
    baseline: Annotated[
        str | None, typer.Option("--baseline", help="Method to compare the others with.")
    ] = None,
    title: Annotated[str, typer.Option("--title", help="Of the page.")] = "Retrieval report",
) -> None:
    """Write methods, tasks, settings, tables, plots, comparisons and caveats in one page.

    The default format is Markdown.
    """
    from rankstone.leaderboards.pages.plots import can_plot

    out.draw(here.report(methods, on, baseline=baseline, title=title), "report")
    if out.file is not None and not can_plot():
        echo("without plots: pip install 'rankstone[site]'", err=True)


@command("results", "data", "cache", "workspace")
def site(
    here: Session,
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
    built = here.site(output, pairs=pairs)
    echo(
        f"site: {built.start}  ({built.methods:,} methods, {built.tasks:,} data sets,"
        f" {built.records:,} records, {built.pairs:,} pairs)"
    )
