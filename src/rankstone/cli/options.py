"""The options that several commands share."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rankstone.execution.sweep import Reporter
    from rankstone.session import Session

WorkspaceOption = Annotated[
    Path | None,
    typer.Option("--workspace", help="Folder with benchmarks/ and runners/ [nearest ancestor]."),
]
DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data", envvar="RANKSTONE_DATA", help="Local mirror of collections in BEIR layout."
    ),
]
CacheOption = Annotated[
    Path | None,
    typer.Option(
        "--cache",
        envvar="RANKSTONE_CACHE",
        help="Prepared corpora and encodings [the user's cache folder].",
    ),
]
ResultsOption = Annotated[
    Path | None,
    typer.Option("--results", help="Folder of the records [results/ of the workspace]."),
]


def session(
    *,
    results: Path | None = None,
    data: Path | None = None,
    cache: Path | None = None,
    workspace: Path | None = None,
    reporter: Reporter | None = None,
) -> Session:
    """The session of a command with these options."""
    from rankstone.session import Session

    return Session(
        workspace=workspace,
        results=results,
        data=data,
        cache=cache,
        command=(Path(sys.argv[0]).name, *sys.argv[1:]),
        reporter=reporter,
    )
