"""`rankstone report` and `rankstone site`: records as one page or as a static site."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rankstone.cli.options import Filters, Format, Output, command, echo

if TYPE_CHECKING:
    from rankstone import Session


@command("results", "workspace", default=Format.markdown)
def report(
    here: Session,
    out: Output,
    filters: Filters,
    methods: Annotated[
        list[str] | None, typer.Argument(help="Methods, or patterns [all with records].")
    ] = None,
    baseline: Annotated[
        str | None, typer.Option("--baseline", help="Baseline of the comparisons.")
    ] = None,
    title: Annotated[str, typer.Option("--title", help="Title of the page.")] = "Retrieval report",
) -> None:
    """Write one page with tables, plots and comparisons.

    The default format is Markdown.
    """
    from rankstone.leaderboards.curves.drawn import can_plot

    out.draw(here.report(methods, baseline=baseline, title=title, **filters), "report")
    if out.file is not None and not can_plot():
        echo("without plots: pip install 'rankstone[site]'", err=True)


@command("results", "data", "cache", "workspace")
def site(
    here: Session,
    filters: Filters,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the pages; an older site is replaced.")
    ] = Path("site"),
    pairs: Annotated[
        int,
        typer.Option(
            "--pairs",
            min=0,
            max=50,
            help="Pages for all pairs of this many best methods per data set.",
        ),
    ] = 5,
    history: Annotated[
        list[Path] | None,
        typer.Option(
            "--history", help="Results of other commits, or a folder of them; adds trends."
        ),
    ] = None,
) -> None:
    """Write records as a static web site; open its index.html.

    Pages of pairs show query and document texts if their collection is available locally.
    """  # fmt: skip
    from rankstone.leaderboards.numbers import count

    built = here.site(output, pairs=pairs, history=history or (), **filters)
    echo(
        f"site: {built.start}  ({count(built.methods, 'method')}, {count(built.tasks, 'data set')},"
        f" {count(built.records, 'record')}, {count(built.pairs, 'pair')},"
        f" {count(built.trends, 'trend')})"
    )
    if history and not built.trends:
        echo(
            "no trend: a trend needs two records of one method on the same task, data, machine and"
            " number of threads. Add --history DIR with the results of other commits.",
            err=True,
        )
