"""`rankstone export`, `import` and `convert`: exchange of files with other tools."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rankstone.cli.options import Filters, RecordsArgument, command, echo

if TYPE_CHECKING:
    from rankstone import Session

ExportForm = StrEnum("ExportForm", ["trec", "ir_metadata", "mteb", "parquet"])


class ImportForm(StrEnum):
    mteb = "mteb"
    trec = "trec"


@command("results", "workspace")
def export(
    here: Session,
    filters: Filters,
    to: Annotated[ExportForm, typer.Option("--to", help="Output format.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Output folder.")],
    records: RecordsArgument = None,
) -> None:
    """Write records as files for other tools.

    These are TREC runs, runs with ir_metadata, MTEB results, or a Parquet table.
    """
    for path in here.export(records, to.value, output, **filters):
        echo(f"written: {path}")


@command("results", "data", "cache", "workspace")
def import_results(
    here: Session,
    files: Annotated[list[Path], typer.Argument(help="MTEB's JSON files, or TREC runs.")],
    source: Annotated[ImportForm, typer.Option("--from", help="Format of the files.")],
    on: Annotated[str | None, typer.Option("--on", help="Task of TREC runs.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of the method.")] = None,
) -> None:
    """Store results of other tools as records."""
    if source is ImportForm.mteb and on is not None:
        raise typer.BadParameter("MTEB's files name their task: use --on with TREC runs only")
    if source is ImportForm.trec and on is None:
        raise typer.BadParameter("a TREC run does not name its task: --on TASK")
    for path in here.import_(files, source.value, on=on, name=name):
        for record, _ in here.records([str(path)]):
            for warning in record.warnings:
                echo(f"warning: {warning}", err=True)
        echo(f"record: {path}")


@command()
def convert(
    here: Session,
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint in DPR's or AR2's format.")],
    like: Annotated[
        Path, typer.Option("--like", help="Folder of the encoder that training started from.")
    ],
    to: Annotated[Path, typer.Option("--to", help="Output folder of the two encoders.")],
) -> None:
    """Convert a pickled checkpoint without executing its code."""
    for folder in here.convert(checkpoint, like, to):
        echo(f"written: {folder}")
