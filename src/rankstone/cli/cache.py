"""`rankstone cache`: list, verify and remove cached encodings."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from rankstone.cli.options import command, echo, stdout

NAMED = 3
"""Largest number of methods listed for a key."""
HEADS = ("key", "size", "shards", "methods", "tasks", "engine", "last use")

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rankstone import Session
    from rankstone.encodings.inventory import Entry

app = typer.Typer(no_args_is_help=True, help="Cached encodings: list, verify, remove.")

NamesArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY|METHOD", help="Keys (rankstone cache ls), or methods."),
]


@app.command("ls")
@command("cache")
def list_keys(here: Session) -> None:
    """List keys of cached encodings with size, methods and tasks."""
    from rich.filesize import decimal

    from rankstone.leaderboards.document import Page, table
    from rankstone.leaderboards.formats.terminal import drawn

    present = here.encodings()
    if present:
        page = Page(blocks=(table(HEADS, map(_row, present), figures=HEADS[:3]),))
        console = stdout()
        console.print(drawn(page, console.width), highlight=False)
    total = decimal(sum(entry.size_bytes for entry in present))
    keys = f"{len(present)} key{'' if len(present) == 1 else 's'}"
    where = f"{here.encodings_folder} (prepared data: rankstone data path TASK)"
    echo(f"{keys}, {total} in {where}")


@app.command()
@command("cache")
def verify(here: Session, names: NamesArgument = None) -> None:
    """Compare cached encodings with their checksums.

    Exit code 1 if any differs.
    """
    faulty = 0
    for entry in here.encodings(names or ()):
        faults = list(entry.faults())
        faulty += len(faults)
        state = "damaged" if faults else "whole" if entry.whole else "partial"
        lines = [f"{state:<8} {entry.short_key}  {_shards(entry)} shards", *faults]
        echo("\n         ".join(lines))
    if faulty:
        echo(f"{faulty} damaged; the next run encodes them again")
        raise typer.Exit(1)


@app.command("rm")
@command("cache")
def remove(
    here: Session,
    names: NamesArgument = None,
    everything: Annotated[bool, typer.Option("--all", help="Every key.")] = False,
    partial: Annotated[bool, typer.Option("--partial", help="Only incomplete keys.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before --all.")] = False,
) -> None:
    """Delete cached encodings by key or by method.

    Encodings that other methods share are deleted too.
    """
    from rich.filesize import decimal

    if bool(names) + everything + partial != 1:
        raise typer.BadParameter("give keys or methods, or one of --all and --partial")
    chosen = here.encodings(names or ())
    if partial:
        chosen = [entry for entry in chosen if not entry.whole]
    if everything and chosen and not yes and sys.stdin.isatty():
        size = decimal(sum(entry.size_bytes for entry in chosen))
        typer.confirm(f"Delete {len(chosen)} keys, {size}, in {here.encodings_folder}?", abort=True)
    freed = 0
    for entry in chosen:
        methods = ", ".join(entry.uses("method"))
        gone = entry.remove()
        freed += gone
        echo(f"{entry.short_key}  {decimal(gone)}  {methods}".rstrip())
    echo(f"{decimal(freed)} freed")


def _row(entry: Entry) -> tuple[str, ...]:
    """Return the entry as a row of `HEADS`."""
    from rich.filesize import decimal

    return (
        entry.short_key,
        decimal(entry.size_bytes),
        _shards(entry),
        _several(entry.uses("method")),
        ", ".join(entry.uses("task")) or "unknown",
        entry.kernel or "unknown",
        f"{datetime.fromtimestamp(entry.used).astimezone():%Y-%m-%d %H:%M}",
    )


def _shards(entry: Entry) -> str:
    """Return the number of shards: `6` if complete, `2/6` otherwise."""
    if entry.whole:
        return str(len(entry.shards))
    return f"{len(entry.shards)}/{'?' if entry.expected is None else entry.expected}"


def _several(names: Sequence[str]) -> str:
    """Return the first few names and the number of others, to fit a table."""
    more = len(names) - NAMED
    shown = [*names[:NAMED], f"and {more} more"] if more > 0 else names
    return ", ".join(shown) or "unknown"
