"""`rankstone reproduce`: published tables, cell by cell, against what was measured here."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rankstone.cli.claims import Missing
from rankstone.cli.leaderboard import stdout, write
from rankstone.cli.options import CacheOption, DataOption, ResultsOption, WorkspaceOption, session
from rankstone.errors import DefinitionError

if TYPE_CHECKING:
    from rankstone.leaderboards.papers.tables import Reproduction


class Form(StrEnum):
    terminal = "terminal"
    markdown = "markdown"
    csv = "csv"
    json = "json"


SUFFIXES = {".md": Form.markdown, ".csv": Form.csv, ".json": Form.json}


def reproduce(
    tables: Annotated[
        list[str] | None, typer.Argument(help="Published tables [all, of what is stored].")
    ] = None,
    listed: Annotated[
        bool, typer.Option("--list", help="How much of each table is reproduced; runs nothing.")
    ] = False,
    missing: Annotated[
        Missing | None,
        typer.Option(
            "--missing",
            help="What to do about runs that are not stored [run, if tables are named].",
        ),
    ] = None,
    results: ResultsOption = None,
    data: DataOption = None,
    cache: CacheOption = None,
    workspace: WorkspaceOption = None,
    form: Annotated[
        Form | None, typer.Option("--format", help="How to print it [terminal, or as FILE ends].")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write to this file; a page has its .json beside it."),
    ] = None,
) -> None:
    """Reproduce published TABLES: each cell is within the tolerance, above, below, or not run.

    Exit code 1 when a cell deviates.
    """
    from rich.console import Console

    from rankstone.cli.bars import Drawn

    if missing is Missing.run and listed:
        raise typer.BadParameter("--list runs nothing")
    if missing is Missing.run and not tables:
        raise DefinitionError(
            "All tables take terabytes and weeks. Name those to run (rankstone reproduce --list),"
            " or take what is stored: --missing skip"
        )
    runs = bool(tables) and not listed and missing is not Missing.skip
    with Drawn(Console(stderr=True)) as reporter:
        here = session(
            results=results, data=data, cache=cache, workspace=workspace, reporter=reporter
        )
        found = here.reproduce(tables or (), missing="run" if runs else "skip")
    _show(found, _form(form, output), output, listed=listed, every=bool(tables))
    if not listed and any(one.deviates for one in found):
        raise typer.Exit(1)


def _form(form: Form | None, output: Path | None) -> Form:
    if form is not None:
        return form
    return Form.terminal if output is None else SUFFIXES.get(output.suffix, Form.markdown)


def _show(
    found: list[Reproduction], form: Form, output: Path | None, *, listed: bool, every: bool
) -> None:
    from rankstone.leaderboards.pages.papers import list_text, terminal, terminal_list, text

    console = stdout()
    if form is Form.terminal and output is not None:
        raise DefinitionError(f"{output}: the terminal's form is no file. (--format markdown)")
    if form is Form.terminal:
        drawn = [terminal_list(found)] if listed or not every else []
        drawn += [terminal(one, console.width) for one in found if every and not listed]
        for one in drawn:
            console.print(one)
        return
    said = list_text(found, form.value) if listed else text(found, form.value, every=every)
    if output is None:
        sys.stdout.write(said)
        return
    write(output, said)
    if form is Form.markdown and not listed:
        write(output.with_suffix(".json"), text(found, "json", every=every))
    console.print(f"tables: {output}", highlight=False, soft_wrap=True)
