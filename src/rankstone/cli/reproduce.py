"""`rankstone reproduce` and `rankstone claims`: publications compared with what was measured."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rankstone.cli.options import (
    CacheOption,
    DataOption,
    ResultsOption,
    WorkspaceOption,
    session,
    stdout,
    write,
)
from rankstone.errors import DefinitionError

if TYPE_CHECKING:
    from rankstone.leaderboards.papers.tables import Reproduction


class Missing(StrEnum):
    run = "run"
    skip = "skip"


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
    from rankstone.cli.bars import drawn

    if missing is Missing.run and listed:
        raise typer.BadParameter("--list runs nothing")
    if missing is Missing.run and not tables:
        raise DefinitionError(
            "All tables take terabytes and weeks. Name those to run (rankstone reproduce --list),"
            " or take what is stored: --missing skip"
        )
    runs = bool(tables) and not listed and missing is not Missing.skip
    with drawn(session(results=results, data=data, cache=cache, workspace=workspace)) as here:
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
        raise DefinitionError(
            f"{output}: the terminal's form cannot be a file. (--format markdown)"
        )
    if form is Form.terminal:
        parts = [terminal_list(found)] if listed or not every else []
        parts += [terminal(one, console.width) for one in found if every and not listed]
        for one in parts:
            console.print(one)
        return
    drawing = list_text(found, form.value) if listed else text(found, form.value, every=every)
    if output is None:
        sys.stdout.write(drawing)
        return
    write(output, drawing)
    if form is Form.markdown and not listed:
        write(output.with_suffix(".json"), text(found, "json", every=every))
    console.print(f"tables: {output}", highlight=False, soft_wrap=True)


def claims(
    names: Annotated[list[str] | None, typer.Argument(help="Claims [all].")] = None,
    missing: Annotated[
        Missing, typer.Option("--missing", help="What to do about runs that are not stored.")
    ] = Missing.run,
    results: ResultsOption = None,
    data: DataOption = None,
    cache: CacheOption = None,
    workspace: WorkspaceOption = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write the page here, its numbers as .json beside it."),
    ] = None,
) -> None:
    """Test the claims of papers on own runs: each holds, does not hold, or is untestable.

    Exit code 1 when a claim does not hold.
    """
    from rankstone.cli.bars import drawn
    from rankstone.leaderboards.pages.claims import markdown, terminal
    from rankstone.leaderboards.papers.tested import claims_to_json

    with drawn(session(results=results, data=data, cache=cache, workspace=workspace)) as here:
        found, records = here.claims(names or (), missing=missing.value)
    console = stdout()
    if output is None:
        console.print(terminal(found, console.width))
    else:
        write(output, markdown(found))
        write(output.with_suffix(".json"), claims_to_json(found, records))
        console.print(f"claims: {output}", highlight=False, soft_wrap=True)
    if any(result.verdict == "does not hold" for result in found):
        raise typer.Exit(1)
