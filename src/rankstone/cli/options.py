"""Shared by all commands: options, the session they make, formats, output."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rankstone.errors import ResultsError

if TYPE_CHECKING:
    from rich.console import Console

    from rankstone import RunRecord, Session
    from rankstone.leaderboards.document import Page

WorkspaceOption = Annotated[
    Path | None,
    typer.Option("--workspace", help="Folder with benchmarks/ and runners/ [nearest ancestor]."),
]
DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data", envvar="RANKSTONE_DATA", help="Local mirror of collections in BEIR layout."
    ),
]
CacheOption = Annotated[
    Path | None,
    typer.Option(
        "--cache",
        envvar="RANKSTONE_CACHE",
        help="Prepared corpora and encodings [the user's cache folder].",
    ),
]
ResultsOption = Annotated[
    Path | None,
    typer.Option("--results", help="Folder of the records [results/ of the workspace]."),
]


class Format(StrEnum):
    terminal = "terminal"
    markdown = "markdown"
    csv = "csv"
    json = "json"
    svg = "svg"
    latex = "latex"
    html = "html"


def session(
    *,
    results: Path | None = None,
    data: Path | None = None,
    cache: Path | None = None,
    workspace: Path | None = None,
) -> Session:
    """The session of a command with these options."""
    from rankstone.session import Session

    return Session(
        workspace=workspace,
        results=results,
        data=data,
        cache=cache,
        command=(Path(sys.argv[0]).name, *sys.argv[1:]),
    )


def write(output: Path, text: str) -> None:
    from rankstone.files import appearing

    try:
        if output.exists() and not output.is_file():
            # A pipe is written to and not replaced; a folder refuses.
            output.write_text(text, encoding="utf-8")
            return
        with appearing(output.resolve()) as out:
            out.write(text.encode())
    except OSError as error:
        raise ResultsError(
            f"{output}: cannot be written: {error.strerror or error}. Make its folder, or name "
            "another file: -o FILE"
        ) from error


def stdout() -> Console:
    from rich.console import Console

    return Console()


def stderr() -> Console:
    from rich.console import Console

    return Console(stderr=True)


def draw(page: Page, form: str, output: Path | None = None, *, name: str = "page") -> None:
    """Print the page, or write it to a file as text."""
    from rankstone.leaderboards.formats import render, terminal

    console = stdout()
    if output is not None:
        write(output, render.render(page, form, width=120 if form == "terminal" else None))
        console.print(f"{name}: {output}", highlight=False, soft_wrap=True)
    elif form == "terminal":
        console.print(terminal.drawn(page, console.width), highlight=False)
    else:
        sys.stdout.write(render.render(page, form))


def print_board(records: list[RunRecord], form: Format, output: Path | None = None) -> None:
    from rankstone.leaderboards.pages.leaderboard import page

    short = form in (Format.terminal, Format.svg)
    draw(page(records, short_names=short), form.value, output, name="leaderboard")
