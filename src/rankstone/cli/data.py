"""`rankstone data`: what collections there are, and what is done with them before a run."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rankstone.cli.leaderboard import stdout
from rankstone.cli.options import CacheOption, DataOption, WorkspaceOption, session
from rankstone.errors import DataError, RankstoneError

if TYPE_CHECKING:
    from rich.console import Console

    from rankstone.benchmarks.dataset import Dataset, Sources
    from rankstone.benchmarks.prepared import Copy
    from rankstone.specs import TaskSpec
    from rankstone.workspace import Workspace

app = typer.Typer(
    no_args_is_help=True,
    help="Collections: which there are; fetched, prepared, checked, described.",
)

TaskArgument = Annotated[
    str,
    typer.Argument(metavar="TASK", help="A task (rankstone data list), a folder, or irds:ID."),
]
TasksArgument = Annotated[
    list[str],
    typer.Argument(metavar="TASK", help="Tasks (rankstone data list), folders, or irds:ID."),
]


@app.command("list")
def list_tasks(
    tasks: Annotated[
        list[str] | None, typer.Argument(metavar="TASK", help="Only these [all].")
    ] = None,
    data: DataOption = None,
    cache: CacheOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Every task: its size, and whether its data is at hand."""
    from rankstone.benchmarks.availability import entry
    from rankstone.cli.data_view import availability

    place, sources = _places(workspace, data, cache)
    named = [task for name in tasks or () for task in place.expand(name)]
    specs = named or list(place.tasks.values())
    stdout().print(availability([entry(task, sources) for task in specs], sources))


@app.command()
def prepare(
    tasks: TasksArgument,
    data: DataOption = None,
    cache: CacheOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Fetch and convert, so that runs find the data ready."""
    from rankstone.benchmarks.prepared import find_copy

    place, sources = _places(workspace, data, cache)
    console = stdout()

    def one(name: str, task: TaskSpec) -> bool:
        began = time.monotonic()
        ready = find_copy(task, sources).ready
        dataset = _opened(task, sources)
        how = "already prepared" if ready else f"{time.monotonic() - began:.1f} s"
        _say(console, "ok", f"{task.name}  {_size(dataset)}  [dim]{how}[/]")
        for warning in dataset.warnings:
            _say(console, "note", _escape(warning))
        return True

    _each(place, tasks, one)


@app.command()
def verify(
    tasks: TasksArgument,
    data: DataOption = None,
    cache: CacheOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Hash prepared data anew and compare it with the pins.

    Compared with what was written when it was prepared as well. Exit code 1 where it differs.
    """
    from rankstone.benchmarks.prepared import find_copy, verify_copy

    place, sources = _places(workspace, data, cache)
    console = stdout()

    def one(name: str, task: TaskSpec) -> bool:
        copy = find_copy(task, sources)
        _refuse_absence(name, copy)
        try:
            digests = verify_copy(copy, task, sources)
        except DataError as error:
            _say(console, "wrong", _escape(str(error)))
            return False
        _say(console, "ok", f"{task.name}  {_pins(task)}")
        for part, digest in digests.items():
            what = "answers" if (part, task.judge) == ("judgements", "answers") else part
            console.print(f"  {what:<10}  {digest}", highlight=False, soft_wrap=True)
        return True

    _each(place, tasks, one)


@app.command()
def path(
    task: TaskArgument,
    data: DataOption = None,
    cache: CacheOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Print the folder of the prepared copy, for scripts."""
    from rankstone.benchmarks.prepared import check_whole, find_copy

    place, sources = _places(workspace, data, cache)
    copy = find_copy(place.task(task), sources)
    _refuse_absence(task, copy)
    check_whole(copy)
    typer.echo(copy.folder)


@app.command()
def stats(
    task: TaskArgument,
    data: DataOption = None,
    cache: CacheOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Lengths, labels, duplicates and self hits of a task."""
    place, sources = _places(workspace, data, cache)
    dataset = _opened(place.task(task), sources)
    from rankstone.benchmarks.stats import statistics
    from rankstone.cli.data_view import figures

    stdout().print(figures(statistics(dataset)))


def _each(place: Workspace, names: list[str], one: Callable[[str, TaskSpec], bool]) -> None:
    """Do `one` task after the other, whatever happens to any; the exit code tells of the worst.

    `one` gets the name as it was typed and the task, and says whether all was as it should be.
    """
    failed = differs = False
    for name in names:
        try:
            for task in place.expand(name):
                differs |= not one(name, task)
        except RankstoneError as error:
            if len(names) == 1:
                raise
            failed = True
            _say(_stderr(), "wrong", _escape(str(error)))
    if failed or differs:
        raise typer.Exit(2 if failed else 1)


def _places(
    workspace: Path | None, data: Path | None, cache: Path | None
) -> tuple[Workspace, Sources]:
    here = session(data=data, cache=cache, workspace=workspace)
    return here.definitions, here.sources


def _opened(task: TaskSpec, sources: Sources) -> Dataset:
    """The task's data, with a bar while it is fetched and converted."""
    from rankstone.benchmarks.store import open_dataset
    from rankstone.cli.bars import Bars

    with Bars(_stderr()) as bars:
        return open_dataset(task, sources, bars.draw_preparing)


def _refuse_absence(name: str, copy: Copy) -> None:
    if copy.absent is not None:
        raise DataError(
            f"{name}: not prepared: {copy.absent} is not there. Run: rankstone data prepare {name}"
        )


def _size(dataset: Dataset) -> str:
    by_answers = dataset.answers is not None
    judged = "judged by answers" if by_answers else f"{len(dataset.judgements.label):,} judgements"
    return f"{len(dataset.corpus):,} documents, {len(dataset.query_ids):,} queries, {judged}"


def _pins(task: TaskSpec) -> str:
    """What of the data the definition fixes, and verify has compared."""
    counts = [what for what, n in task.counts.model_dump().items() if n is not None]
    digests = [f"sha256 of {part}" for part in task.sha256]
    return f"[dim]as written; pinned: {', '.join([*counts, *digests]) or 'nothing'}[/]"


MARKS = {"ok": "[green]✓[/]", "wrong": "[red]✗[/]", "note": " [yellow]![/]"}


def _say(console: Console, mark: str, text: str) -> None:
    console.print(f"{MARKS[mark]} {text}", highlight=False, soft_wrap=True)


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _stderr() -> Console:
    from rich.console import Console

    return Console(stderr=True)
