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


def print_board(records: list[RunRecord], form: Format) -> None:
    if form is not Format.terminal:
        from rankstone.leaderboards.formats.render import render

        sys.stdout.write(render(records, form.value))
        return
    from rankstone.leaderboards.formats.terminal import tables
    from rankstone.leaderboards.frame import leaderboard as table

    console = stdout()
    console.print(tables(table(records), console.width))


def print_defined(
    name: str, results: Path | None, workspace: Path | None, form: Format, output: Path | None
) -> None:
    """A defined leaderboard, on the terminal or in a file."""
    from rankstone.leaderboards.pages.board import render_board, terminal

    made = session(results=results, workspace=workspace).board(name)
    if form is Format.terminal and output is None:
        stdout().print(terminal(made))
        return
    text = render_board(made, form.value)
    if output is None:
        sys.stdout.write(text)
        return
    write(output, text)
    stdout().print(f"leaderboard: {output}", highlight=False, soft_wrap=True)


def print_means(here: Session, suite: str, form: Format, output: Path | None) -> None:
    from rankstone.leaderboards.suites import render_means

    text = render_means(here.suite_means(suite), form.value)
    if output is None:
        sys.stdout.write(text)
    else:
        write(output, text)
