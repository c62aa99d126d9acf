"""`rankstone site`: the records as a folder of pages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rankstone.cli.leaderboard import stdout
from rankstone.cli.options import CacheOption, DataOption, ResultsOption, WorkspaceOption, session


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
            help="Of each data set's so many best methods, every two have a page.",
        ),
    ] = 5,
) -> None:
    """Write all records as one folder of static pages: open its index.html, or serve it as it is.

    Query and document texts stand on the pages of pairs where their data set is within reach.
    """  # fmt: skip
    here = session(results=results, data=data, cache=cache, workspace=workspace)
    built = here.site(output, pairs=pairs)
    said = (
        f"site: {built.start}  ({built.methods:,} methods, {built.tasks:,} data sets,"
        f" {built.records:,} records, {built.pairs:,} pairs)"
    )
    stdout().print(said, highlight=False, markup=False, soft_wrap=True)
