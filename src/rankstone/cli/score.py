"""`rankstone score` and `rankstone verify`: score run files, recompute stored records."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rankstone.cli.options import (
    Format,
    FormatOption,
    Output,
    RecordsArgument,
    TaskNameOption,
    command,
    echo,
)

UNDIGESTED = "without digest (written by an early version): only its figures are verified"

if TYPE_CHECKING:
    from rankstone import Session


@command("results", "data", "cache", "workspace")
def score(
    here: Session,
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="TREC run files, plain or compressed.")
    ],
    on: Annotated[str | None, typer.Option("--on", help="Task of the run.")] = None,
    qrels: Annotated[
        Path | None, typer.Option("--qrels", help="File of judgements, instead of a task.")
    ] = None,
    relevance: Annotated[
        int | None, typer.Option("--relevance", help="With --qrels: lowest relevant label [1].")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the only RUN [runs/<file name>].")
    ] = None,
    measures: Annotated[
        list[str] | None, typer.Option("--measures", help="Further measures.")
    ] = None,
    task_name: TaskNameOption = None,
    form: FormatOption = None,
) -> None:
    """Score run files of other tools and store their records."""
    from rankstone.cli.bars import drawn
    from rankstone.session.scores import refuse_equal_names

    if relevance is not None and qrels is None:
        raise typer.BadParameter("the task defines relevance: use --relevance with --qrels only")
    if name is not None and len(runs) > 1:
        raise typer.BadParameter(f"--name names one run, of {len(runs)}: score them one by one")
    refuse_equal_names(runs)
    with drawn(here) as here:
        scored = [
            here.score(
                run,
                on,
                qrels=qrels,
                relevance=1 if relevance is None else relevance,
                name=name,
                task_name=task_name,
                measures=measures or (),
            )
            for run in runs
        ]
    for warning in dict.fromkeys(one for record in scored for one in record.warnings):
        echo(f"warning: {warning}", err=True)
    same = [r for r, _ in here.records() if r.task.name == scored[0].task.name]
    Output(form=form or Format.terminal).board(same)
    for record in scored:
        echo(f"record: {here.store.path(record)}", err=True)


@command("results", "data", "cache", "workspace")
def verify(
    here: Session,
    records: RecordsArgument = None,
) -> None:
    """Recompute stored measures from stored runs.

    Exit code 1 if anything differs or is unreadable.
    """
    from rankstone.errors import ResultsError

    good = n = 0
    every = here.all_records(records or (), changed=True)
    if not every:
        raise ResultsError(f"{here.store.folder}: no records to verify. (rankstone run)")
    for read in every:
        if isinstance(read, ResultsError):
            _print_verified("no record", str(read))
            n += 1
            continue
        record, path = read
        faults = here.verify(record, path)
        state = "differs" if faults else "ok" if record.status == "ok" else f"({record.status})"
        notes = [] if here.has_digest(path) else [UNDIGESTED]
        _print_verified(state, f"{record.method.name}@{record.task.name}", *faults, *notes)
        n += record.status == "ok" or bool(faults)
        good += state == "ok"
    nothing = "nothing to verify: all records are of failed cells"
    echo(f"{good} of {n} records verified" if n else nothing)
    if good < n:
        raise typer.Exit(1)


def _print_verified(state: str, *lines: str) -> None:
    text = "\n         ".join(lines)
    echo(f"{state:<8} {text}")
