"""`rankstone claims`: what papers say, held against what was measured here."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from rankstone.cli.leaderboard import stdout, write
from rankstone.cli.options import CacheOption, DataOption, ResultsOption, WorkspaceOption, session


class Missing(StrEnum):
    run = "run"
    skip = "skip"


def claims(
    names: Annotated[list[str] | None, typer.Argument(help="Claims [all].")] = None,
    missing: Annotated[
        Missing, typer.Option("--missing", help="What to do about runs that are not stored.")
    ] = Missing.run,
    results: ResultsOption = None,
    data: DataOption = None,
    cache: CacheOption = None,
    workspace: WorkspaceOption = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write the page here, its numbers as .json beside it."),
    ] = None,
) -> None:
    """Test the claims of papers on runs of one's own: each holds, does not hold, or is untestable.

    Exit code 1 when a claim does not hold.
    """
    from rich.console import Console

    from rankstone.cli.bars import Drawn
    from rankstone.leaderboards.pages.claims import markdown, terminal
    from rankstone.leaderboards.papers.tested import claims_to_json

    with Drawn(Console(stderr=True)) as reporter:
        here = session(
            results=results, data=data, cache=cache, workspace=workspace, reporter=reporter
        )
        found, records = here.claims(names or (), missing=missing.value)
    console = stdout()
    if output is None:
        console.print(terminal(found, console.width))
    else:
        write(output, markdown(found))
        write(output.with_suffix(".json"), claims_to_json(found, records))
        console.print(f"claims: {output}", highlight=False, soft_wrap=True)
    if any(result.verdict == "does not hold" for result in found):
        raise typer.Exit(1)
