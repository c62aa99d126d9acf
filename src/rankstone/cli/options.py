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


SUFFIXES = {
    ".txt": Format.terminal, ".md": Format.markdown, ".csv": Format.csv, ".json": Format.json,
    ".svg": Format.svg, ".tex": Format.latex, ".html": Format.html, "": Format.markdown,
}  # fmt: skip
FormatOption = Annotated[
    Format | None, typer.Option("--format", help="Format [terminal; of a FILE, by its suffix].")
]
OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write to this file instead.")
]


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


def chosen(form: Format | None, output: Path | None, default: Format = Format.terminal) -> Format:
    """Return the format in which a page is drawn."""
    if output is None:
        return form or default
    by_suffix = SUFFIXES.get(output.suffix)
    if form is None and by_suffix is None:
        known = ", ".join(filter(None, SUFFIXES))
        raise typer.BadParameter(f"{output}: name a file that ends in {known}, or give --format")
    if form is Format.terminal and by_suffix is not form:
        raise typer.BadParameter(
            f"{output}: text as on the terminal belongs into a .txt file. (--format markdown)"
        )
    return form or by_suffix or default


def draw(page: Page, form: Format, output: Path | None = None, *, name: str = "page") -> None:
    """Print the page, or write it to a file with its pictures beside it."""
    from rankstone.leaderboards.formats import render, terminal

    console = stdout()
    if output is not None:
        write(output, render.render(page, form, width=120 if form is Format.terminal else None))
        for picture, svg in page.pictures.items() if form is Format.markdown else ():
            write(output.with_name(picture), svg)
        console.print(f"{name}: {output}", highlight=False, soft_wrap=True)
    elif form is Format.terminal:
        console.print(terminal.drawn(page, console.width), highlight=False)
    else:
        sys.stdout.write(render.render(page, form))


def print_board(records: list[RunRecord], form: Format, output: Path | None = None) -> None:
    from rankstone.leaderboards.pages.leaderboard import page

    short = form in (Format.terminal, Format.svg)
    draw(page(records, short_names=short), form, output, name="leaderboard")
