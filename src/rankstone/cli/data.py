"""`rankstone data`: list, prepare, verify and describe collections."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from rankstone.cli.options import Output, command, echo, stderr, stdout
from rankstone.errors import DataError, RankstoneError

if TYPE_CHECKING:
    from rich.console import Console

    from rankstone import Session
    from rankstone.benchmarks.dataset import Dataset
    from rankstone.specs import TaskSpec

app = typer.Typer(no_args_is_help=True, help="Collections: list, fetch, prepare, verify, describe.")

TaskArgument = Annotated[
    str,
    typer.Argument(
        metavar="TASK", help="A task (rankstone data list), or ./DIR, files:, irds:, hf:."
    ),
]
TasksArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="TASK", help="Tasks (rankstone data list), or ./DIR, files:, irds:, hf:."
    ),
]


@app.command("list")
@command("data", "cache", "workspace")
def list_tasks(
    here: Session,
    out: Output,
    tasks: Annotated[
        list[str] | None, typer.Argument(metavar="TASK", help="Only these [all].")
    ] = None,
) -> None:
    """List tasks with the size and availability of their data."""
    from rankstone.cli.data_view import availability

    out.draw(availability(here.availability(tasks or ()), here.sources), "tasks")


@app.command()
@command("data", "cache", "workspace")
def prepare(here: Session, tasks: TasksArgument) -> None:
    """Download and convert the data of tasks."""
    from rankstone.cli.bars import Bars

    def one(name: str, task: TaskSpec) -> bool:
        began = time.monotonic()
        ready = here.prepared(task).ready
        with Bars(stderr(), label="") as bars:
            dataset = here.prepare(task, bars)
        how = "already prepared" if ready else f"{time.monotonic() - began:.1f} s"
        _say("ok", f"{task.name}  {_size(dataset)}  [dim]{how}[/]")
        for warning in dataset.warnings:
            _say("note", _escape(warning))
        return True

    _each(here, tasks, one)


@app.command()
@command("data", "cache", "workspace")
def verify(here: Session, tasks: TasksArgument) -> None:
    """Compare prepared data with its pinned counts and digests.

    Exit code 1 if anything differs.
    """

    def one(name: str, task: TaskSpec) -> bool:
        here.prepared(task).refuse_absence(name)
        try:
            digests = here.verify_data(task)
        except DataError as error:
            _say("wrong", _escape(str(error)))
            return False
        _say("ok", f"{task.name}  {_pins(task)}")
        for part, digest in digests.items():
            what = "answers" if (part, task.judge) == ("judgements", "answers") else part
            echo(f"  {what:<10}  {digest}")
        return True

    _each(here, tasks, one)


@app.command()
@command("data", "cache", "workspace")
def path(here: Session, task: TaskArgument) -> None:
    """Print the folder of the prepared data, for scripts."""
    echo(here.data_path(task))


@app.command()
@command("data", "cache", "workspace")
def stats(here: Session, out: Output, task: TaskArgument) -> None:
    """Print lengths, labels, duplicates and self hits of a task."""
    from rankstone.cli.bars import Bars
    from rankstone.cli.data_view import figures

    with Bars(stderr(), label="") as bars:
        found = here.statistics(task, bars)
    out.draw(figures(found), "statistics")


def _each(here: Session, names: list[str], one: Callable[[str, TaskSpec], bool]) -> None:
    """Apply `one` to each task and continue after errors; exit with the code of the worst result.

    `one` receives the name as typed and the task, and returns False if the data differs.
    """
    failed = differs = False
    for name in names:
        try:
            for task in here.tasks([name]):
                differs |= not one(name, task)
        except RankstoneError as error:
            if len(names) == 1:
                raise
            failed = True
            _say("wrong", _escape(str(error)), stderr())
    if failed or differs:
        raise typer.Exit(2 if failed else 1)


def _size(dataset: Dataset) -> str:
    by_answers = dataset.answers is not None
    judged = "judged by answers" if by_answers else f"{len(dataset.judgements.label):,} judgements"
    return f"{len(dataset.corpus):,} documents, {len(dataset.query_ids):,} queries, {judged}"


def _pins(task: TaskSpec) -> str:
    """Return the parts of the data that the definition pins and `verify` has compared."""
    counts = [what for what, n in task.counts.model_dump().items() if n is not None]
    digests = [f"sha256 of {part}" for part in task.sha256]
    return f"[dim]as written; pinned: {', '.join([*counts, *digests]) or 'nothing'}[/]"


MARKS = {"ok": "[green]✓[/]", "wrong": "[red]✗[/]", "note": " [magenta]![/]"}


def _say(mark: str, text: str, console: Console | None = None) -> None:
    (console or stdout()).print(f"{MARKS[mark]} {text}", highlight=False, soft_wrap=True)


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)
