"""`rankstone leaderboard` and `rankstone show`: stored records in tables, and one in full."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from rankstone.cli.options import (
    CacheOption,
    DataOption,
    Format,
    ResultsOption,
    WorkspaceOption,
    draw,
    print_board,
    session,
    stdout,
)


class Rules(StrEnum):
    trec_eval = "trec_eval"
    msmarco = "msmarco"
    beir = "beir"
    mteb = "mteb"


def leaderboard(
    table: Annotated[
        str | None, typer.Argument(help="One that leaderboards/ defines [all records, by task].")
    ] = None,
    results: ResultsOption = None,
    workspace: WorkspaceOption = None,
    form: Annotated[Format, typer.Option("--format", help="How to print it.")] = Format.terminal,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write to this file instead.")
    ] = None,
    suite: Annotated[
        str | None, typer.Option("--suite", help="Means over this suite instead.")
    ] = None,
) -> None:
    """Print quality and efficiency of all stored records, or a defined leaderboard."""
    from rankstone.leaderboards.pages import board
    from rankstone.leaderboards.pages import suite as means

    here = session(results=results, workspace=workspace)
    if table is not None:
        draw(board.page(here.board(table)), form.value, output, name="leaderboard")
    elif suite is not None:
        draw(means.page(here.suite_means(suite)), form.value, output, name="means")
    else:
        print_board([record for record, _ in here.records()], form, output)


def show(
    record: Annotated[str, typer.Argument(help="A record's file, or part of METHOD@TASK.")],
    rules: Annotated[
        Rules | None, typer.Option("--as", help="Beside the rules of another tool.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    results: ResultsOption = None,
    data: DataOption = None,
    cache: CacheOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Show one record in full, or its run under another tool's rules."""
    from rankstone.leaderboards.pages import record as shown

    here = session(results=results, data=data, cache=cache, workspace=workspace)
    [(found, path)] = here.records([record])
    if rules is None and as_json:
        sys.stdout.write(shown.record_json(found))
        return
    if rules is None:
        stdout().print(shown.show_record(found))
        return
    rows = here.compare_rules(found, path, rules.value)
    if as_json:
        sys.stdout.write(shown.comparison_json(found, rules.value, rows))
    else:
        stdout().print(shown.show_comparison(found, rules.value, rows))
