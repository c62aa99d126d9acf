"""`rankstone leaderboard`, `show` and `records`: stored records in tables, one, and their files."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rankstone.cli.options import Format, Output, command, echo

if TYPE_CHECKING:
    from rankstone import Session


Rules = StrEnum("Rules", ["trec_eval", "msmarco", "beir", "mteb"])


@command("results", "data", "cache", "workspace")
def leaderboard(
    here: Session,
    out: Output,
    table: Annotated[
        str | None,
        typer.Argument(help="Leaderboard defined in leaderboards/ [all records, by task]."),
    ] = None,
    suite: Annotated[
        str | None, typer.Option("--suite", help="Print means over this suite.")
    ] = None,
    zero_shot: Annotated[
        bool,
        typer.Option("--zero-shot", help="Leave out methods trained on a task's training split."),
    ] = False,
    measures: Annotated[
        list[str] | None,
        typer.Option("--measures", help="Further measures, computed from the stored runs."),
    ] = None,
) -> None:
    """Print quality and costs of all stored records, or a defined leaderboard."""
    from rankstone.leaderboards.pages import board
    from rankstone.leaderboards.pages import suite as means
    from rankstone.leaderboards.trained import zero_shot as without_trained

    if measures:
        here.with_measures([record for record, _ in here.records()], measures)
    if table is not None:
        out.draw(board.page(here.board(table, zero_shot=zero_shot)), "leaderboard")
    elif suite is not None:
        out.draw(means.page(here.suite_means(suite, zero_shot=zero_shot)), "means")
    else:
        found = [record for record, _ in here.records()]
        out.board(without_trained(found) if zero_shot else found)


@command("results", "data", "cache", "workspace")
def show(
    here: Session,
    out: Output,
    record: Annotated[str, typer.Argument(help="A record's file, or part of METHOD@TASK.")],
    rules: Annotated[
        Rules | None, typer.Option("--as", help="Compare with the rules of this tool.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """Show one record, or its run scored under another tool's rules."""
    from rankstone.leaderboards.pages.record import comparison_page, page

    if as_json:
        out = replace(out, form=Format.json)
    [(found, path)] = here.records([record])
    if rules is None:
        out.draw(page(found), "record")
        return
    rows = here.compare_rules(found, path, rules.value)
    out.draw(comparison_page(found, rules.value, rows), "record")


records = typer.Typer(no_args_is_help=True, help="Stored records: list, remove.")


@records.command("ls")
@command("results", "workspace")
def list_records(here: Session, out: Output) -> None:
    """List records with status and file, including failures and unreadable files."""
    from rankstone.leaderboards.pages.records import page

    out.draw(page(here.all_records()), "records")


@records.command("rm")
@command("results", "workspace")
def remove_records(
    here: Session,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="METHOD|METHOD@TASK|FILE", help="Records (rankstone records ls)."),
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only failures.")] = False,
) -> None:
    """Delete records of all machines, with their side files."""
    if not names and not failed:
        raise typer.BadParameter("name records, or give --failed")
    removed = here.remove_records(names or (), failed=failed)
    for path in removed:
        echo(str(path))
    echo(f"{len(removed)} records removed")


@records.command("publish")
@command("results", "workspace")
def publish_records(
    here: Session,
    to: Annotated[Path | None, typer.Argument(help="Folder to copy to [check only].")] = None,
    tasks: Annotated[
        list[str] | None, typer.Argument(help="Beginnings of names of tasks [all].")
    ] = None,
) -> None:
    """Copy good records of committed code and steady latency; exit code 1 if others are refused."""
    from rankstone.leaderboards.publishing import publish, refused

    root = here.store.folder.resolve()
    below = None if to is None else to.resolve()
    stored = [
        (record, path.resolve())
        for record, path in here.records()
        if below is None or below not in path.resolve().parents
    ]
    if below is not None:
        echo(f"{len(publish(stored, root, below, tasks or ()))} records published")
    lacking = refused(stored)
    for (record, _), reasons in lacking:
        echo(f"refused: {record.method.name} on {record.task.name}: {'; '.join(reasons)}")
    echo(f"{len(lacking)} of {len(stored)} records refused")
    if lacking:
        raise typer.Exit(1)
