"""`rankstone list`: definitions of methods, tasks and suites, and published values."""

from __future__ import annotations

from collections.abc import Sequence
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
Row = dict[str, str]


@command("workspace")
def list_definitions(
    here: Session,
    out: Output,
    kind: Annotated[Kind, typer.Argument(help="Definitions to list.")],
    text: Annotated[
        str | None,
        typer.Argument(help="Text to search; with published, the method whose values to list."),
    ] = None,
    family: Annotated[
        str | None, typer.Option("--family", help="Only this family, such as dense or beir.")
    ] = None,
    adapter: Annotated[
        str | None, typer.Option("--kind", help="Only this adapter, or this loader.")
    ] = None,
) -> None:
    """List methods, tasks and suites, or published values."""
    if kind is Kind.published:
        from rankstone.leaderboards.papers import published

        if family or adapter:
            raise typer.BadParameter("--family and --kind go with runners and benchmarks")
        out.draw(published.page(here.published(text)), kind.value)
        return
    rows = _runners(here) if kind is Kind.runners else _benchmarks(here.definitions)
    kept = [row for row in rows if _is_kept(row, text, family, adapter)]
    out.draw(_page(kept), kind.value)


def _is_kept(row: Row, text: str | None, family: str | None, kind: str | None) -> bool:
    return (
        (text is None or text.lower() in "\n".join(row.values()).lower())
        and (family is None or f"{row['name']}/".startswith(f"{family}/"))
        and (kind is None or row["kind"] == kind)
    )


def _page(rows: Sequence[Row]) -> Page:
    """Return the rows as a table, without `kind` and empty columns."""
    from rankstone.leaderboards.document import Page, table

    fields = tuple(rows[0]) if rows else ("name", "kind", "description")
    heads = [name for name in fields if name != "kind" and any(row[name] for row in rows)]
    cells = ([row[name] for name in heads] for row in rows)
    shown = table(heads or ["name"], cells, figures=("published", "tasks"))
    return Page(blocks=(shown,), fields=fields, rows=tuple(rows))


def _runners(here: Session) -> list[Row]:
    from rankstone.leaderboards.papers.published import published_of

    definitions, published, rows = here.definitions, here.published(), list[Row]()
    for name in definitions.method_names():
        row = {"name": name, "kind": "", "published": "", "description": ""}
        try:
            spec = definitions.method(name)
        except RankstoneError as error:  # an invalid definition does not hide the others
            rows.append({**row, "description": f"error: {error}"})
            continue
        values = str(len(published_of(spec, published)) or "")
        known = {"kind": spec.adapter, "published": values, "description": spec.description}
        rows.append({**row, **known})
    return rows


def _benchmarks(definitions: Workspace) -> list[Row]:
    rows = [
        {"name": name, "kind": task.loader, "tasks": "", "description": task.description}
        for name, task in definitions.tasks.items()
    ]
    rows += [
        {"name": alias, "kind": "alias", "tasks": "", "description": f"= {name}"}
        for alias, name in definitions.aliases.items()
    ]
    return rows + [
        {"name": n, "kind": "suite", "tasks": str(len(s.tasks)), "description": s.description}
        for n, s in definitions.suites.items()
    ]
