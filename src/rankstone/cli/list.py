"""`rankstone list`: definitions of methods, tasks and suites, and published values."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from rankstone.cli.options import Output, command
from rankstone.errors import RankstoneError

if TYPE_CHECKING:
    from rankstone import Session
    from rankstone.leaderboards.document import Page
    from rankstone.workspace import Workspace


Kind = StrEnum("Kind", ["runners", "benchmarks", "published"])


@command("workspace")
def list_definitions(
    here: Session,
    out: Output,
    kind: Annotated[Kind, typer.Argument(help="Definitions to list.")],
    method: Annotated[
        str | None, typer.Argument(help="With published: values of this method only.")
    ] = None,
) -> None:
    """List methods, tasks and suites, or published values."""
    if method is not None and kind is not Kind.published:
        raise typer.BadParameter(
            f"methods select published values: rankstone list published {method}"
        )
    if kind is Kind.runners:
        page = _runners(here)
    elif kind is Kind.benchmarks:
        page = _benchmarks(here.definitions)
    else:
        from rankstone.leaderboards.papers import published

        page = published.page(here.published(method))
    out.draw(page, kind.value)


def _runners(here: Session) -> Page:
    from rankstone.leaderboards.document import Page, table
    from rankstone.leaderboards.papers.published import published_of

    definitions, published, rows = here.definitions, here.published(), []
    for name in definitions.method_names():
        try:
            spec = definitions.method(name)
        except RankstoneError as error:  # one fault hides no other method
            rows.append((name, "", f"error: {error}"))
            continue
        rows.append((name, str(len(published_of(spec, published)) or ""), spec.description))
    return Page(blocks=(table(("name", "published", "description"), rows, figures=["published"]),))


def _benchmarks(definitions: Workspace) -> Page:
    from rankstone.leaderboards.document import Page, table

    tasks = [(name, task.description) for name, task in definitions.tasks.items()]
    tasks += [(alias, f"= {name}") for alias, name in definitions.aliases.items()]
    suites = [(n, str(len(s.tasks)), s.description) for n, s in definitions.suites.items()]
    blocks = [table(("name", "description"), tasks)]
    blocks += [table(("suite", "tasks", "description"), suites, figures=["tasks"])] * bool(suites)
    return Page(blocks=tuple(blocks))
