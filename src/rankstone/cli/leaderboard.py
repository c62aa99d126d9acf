"""How the command line shows leaderboards: on the terminal, as text, or in a file."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from rankstone.cli.options import session
from rankstone.errors import ResultsError

if TYPE_CHECKING:
    from rich.console import Console

    from rankstone.leaderboards.document import Page
    from rankstone.results.record import RunRecord
    from rankstone.session import Session


class Format(StrEnum):
    terminal = "terminal"
    markdown = "markdown"
    csv = "csv"
    json = "json"
    svg = "svg"
    latex = "latex"
    html = "html"


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


def print_defined(
    name: str, results: Path | None, workspace: Path | None, form: Format, output: Path | None
) -> None:
    """A defined leaderboard, on the terminal or in a file."""
    from rankstone.leaderboards.pages.board import page

    made = session(results=results, workspace=workspace).board(name)
    draw(page(made), form.value, output, name="leaderboard")


def print_means(here: Session, suite: str, form: Format, output: Path | None) -> None:
    from rankstone.leaderboards.pages.suite import page

    draw(page(here.suite_means(suite)), form.value, output, name="means")
