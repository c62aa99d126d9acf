"""`rankstone list` and `rankstone convert`: what is defined, and checkpoints made ready for it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rankstone.cli.leaderboard import stdout
from rankstone.cli.options import WorkspaceOption
from rankstone.errors import DefinitionError, RankstoneError

if TYPE_CHECKING:
    from rich.table import Table

    from rankstone.leaderboards.papers.published import Published
    from rankstone.workspace import Workspace


class Kind(StrEnum):
    runners = "runners"
    benchmarks = "benchmarks"
    published = "published"


def list_definitions(
    kind: Kind,
    method: Annotated[
        str | None, typer.Argument(help="With published: only the values of this method.")
    ] = None,
    workspace: WorkspaceOption = None,
) -> None:
    """What is defined: methods to run, tasks to run them on, and values that others published."""
    from rankstone.workspace import Workspace

    place, console = Workspace.find(workspace), stdout()
    if method is not None and kind is not Kind.published:
        raise typer.BadParameter(f"a method goes with: rankstone list published {method}")
    if kind is Kind.runners:
        console.print(_runners(place))
    elif kind is Kind.benchmarks:
        for drawn in _benchmarks(place):
            console.print(drawn)
    else:
        _print_published(place, method)


def convert(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint of DPR's or AR2's own form.")],
    like: Annotated[
        Path, typer.Option("--like", help="Folder of the encoder that it started from.")
    ],
    to: Annotated[Path, typer.Option("--to", help="Folder that the two towers go into.")],
) -> None:
    """Make encoders of a pickled checkpoint, read as data and never run as code."""
    from rankstone.runners.transformer.dpr_checkpoint import convert as converted

    for folder in converted(checkpoint, like, to):
        stdout().print(f"written: {folder}", highlight=False, soft_wrap=True)


def _runners(place: Workspace) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from rankstone.leaderboards.papers.published import published_of, read_published

    rows = read_published(place.published)
    drawn = Table(box=box.SIMPLE)
    drawn.add_column("name", no_wrap=True)
    drawn.add_column("published", justify="right")
    drawn.add_column("description")
    for name in place.method_names():
        try:
            spec = place.method(name)
        except RankstoneError as error:  # one fault hides no other method
            drawn.add_row(name, "", Text(f"error: {error}"))
            continue
        n = len(published_of(spec, rows))
        drawn.add_row(name, str(n) if n else "", Text(spec.description))
    return drawn


def _benchmarks(place: Workspace) -> list[Table]:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    tasks = Table("name", "description", box=box.SIMPLE)
    for name, task in place.tasks.items():
        tasks.add_row(name, Text(task.description))
    for alias, name in place.aliases.items():
        tasks.add_row(alias, Text(f"= {name}"))
    suites = Table("suite", "tasks", "description", box=box.SIMPLE)
    for name, suite in place.suites.items():
        suites.add_row(name, str(len(suite.tasks)), suite.description)
    return [tasks, suites] if place.suites else [tasks]


def _print_published(place: Workspace, method: str | None) -> None:
    from rankstone.leaderboards.papers.published import published_of, read_published, table

    rows: list[Published] = read_published(place.published)
    if method is None:
        stdout().print(table(rows, methods=True))
        return
    spec = place.method(method)
    found = published_of(spec, rows)
    if not found:
        raise DefinitionError(
            f"Runner '{spec.name}' has no published values in {place.published}."
            " (rankstone list published)"
        )
    stdout().print(table(found, methods=False))
