"""`rankstone list`: definitions of methods, tasks and suites, and published values."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from rankstone.cli.options import WorkspaceOption, session, stdout
from rankstone.errors import RankstoneError

if TYPE_CHECKING:
    from rich.table import Table

    from rankstone import Session
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
    """List methods to run, tasks to run them on, or values that others published."""
    here, console = session(workspace=workspace), stdout()
    if method is not None and kind is not Kind.published:
        raise typer.BadParameter(f"a method goes with: rankstone list published {method}")
    if kind is Kind.runners:
        console.print(_runners(here))
    elif kind is Kind.benchmarks:
        for part in _benchmarks(here.definitions):
            console.print(part)
    else:
        from rankstone.leaderboards.papers.published import table

        console.print(table(here.published(method), methods=method is None))


def _runners(here: Session) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from rankstone.leaderboards.papers.published import published_of

    definitions, rows = here.definitions, here.published()
    drawn = Table(box=box.SIMPLE)
    drawn.add_column("name", no_wrap=True)
    drawn.add_column("published", justify="right")
    drawn.add_column("description")
    for name in definitions.method_names():
        try:
            spec = definitions.method(name)
        except RankstoneError as error:  # one fault hides no other method
            drawn.add_row(name, "", Text(f"error: {error}"))
            continue
        n = len(published_of(spec, rows))
        drawn.add_row(name, str(n) if n else "", Text(spec.description))
    return drawn


def _benchmarks(definitions: Workspace) -> list[Table]:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    tasks = Table("name", "description", box=box.SIMPLE)
    for name, task in definitions.tasks.items():
        tasks.add_row(name, Text(task.description))
    for alias, name in definitions.aliases.items():
        tasks.add_row(alias, Text(f"= {name}"))
    suites = Table("suite", "tasks", "description", box=box.SIMPLE)
    for name, suite in definitions.suites.items():
        suites.add_row(name, str(len(suite.tasks)), suite.description)
    return [tasks, suites] if definitions.suites else [tasks]
