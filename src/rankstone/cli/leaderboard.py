"""`rankstone leaderboard` and `rankstone show`: stored records in tables, and one in full."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from rankstone.cli.options import (
    CacheOption,
    DataOption,
    Format,
    FormatOption,
    OutputOption,
    ResultsOption,
    WorkspaceOption,
    chosen,
    draw,
    print_board,
    session,
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
    form: FormatOption = None,
    output: OutputOption = None,
    suite: Annotated[
        str | None, typer.Option("--suite", help="Means over this suite instead.")
    ] = None,
) -> None:
    """Print quality and efficiency of all stored records, or a defined leaderboard."""
    from rankstone.leaderboards.pages import board
    from rankstone.leaderboards.pages import suite as means

    form, here = chosen(form, output), session(results=results, workspace=workspace)
    if table is not None:
        draw(board.page(here.board(table)), form, output, name="leaderboard")
    elif suite is not None:
        draw(means.page(here.suite_means(suite)), form, output, name="means")
    else:
        print_board([record for record, _ in here.records()], form, output)


def show(
    record: Annotated[str, typer.Argument(help="A record's file, or part of METHOD@TASK.")],
    rules: Annotated[
        Rules | None, typer.Option("--as", help="Beside the rules of another tool.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    results: ResultsOption = None,
    data: DataOption = None,
    cache: CacheOption = None,
    workspace: WorkspaceOption = None,
    form: FormatOption = None,
    output: OutputOption = None,
) -> None:
    """Show one record in full, or its run under another tool's rules."""
    from rankstone.leaderboards.pages.record import comparison_page, page

    form = chosen(Format.json if as_json else form, output)
    here = session(results=results, data=data, cache=cache, workspace=workspace)
    [(found, path)] = here.records([record])
    if rules is None:
        draw(page(found), form, output, name="record")
        return
    rows = here.compare_rules(found, path, rules.value)
    draw(comparison_page(found, rules.value, rows), form, output, name="record")
