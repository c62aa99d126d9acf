"""The options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
