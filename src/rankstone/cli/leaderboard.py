"""`rankstone leaderboard`, `show` and `records`: stored records in tables, one, and their files."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rankstone.cli.options import (
    MEASURES,
    Filters,
    Options,
    Output,
    RecordArgument,
    argument,
    command,
    echo,
    option,
)

if TYPE_CHECKING:
    from rankstone import Session


Rules = StrEnum(
    "Rules", ["trec_eval", "ir_measures", "msmarco", "beir", "mteb", "sentence_transformers"]
)


BOARD: Options = {
    "table": argument(
        str | None, "Leaderboard defined in leaderboards/ [all records, by task].", None
    ),
    "suite": option(str | None, "Print means over this suite."),
    "zero_shot": option(
        bool, "Leave out methods trained on a task's training split.", "--zero-shot", default=False
    ),
    "measures": MEASURES,
    "columns": option(
        list[str] | None,
        "One table, methods by tasks: measures, mean, costs such as 'p95 latency', index.",
    ),
    "sort": option(str | None, "Order of TABLE or --columns: a column, or method [mean]."),
    "intervals": option(bool | None, "Intervals of measures in TABLE or --columns."),
    "significance": option(
        bool | None, "Paired tests of all methods, as letters in TABLE or --columns."
    ),
    "title": option(str | None, "Title of TABLE or --columns."),
    "top": option(int | None, "Show only the first N methods.", min=1),
    "plot": option(
        str | None, "Plot one task against a cost: -o FILE.svg or FILE.pdf.", metavar="COST"
    ),
}


@command("results", "data", "cache", "workspace", options=BOARD)
def leaderboard(
    here: Session,
    out: Output,
    filters: Filters,
    *,
    table: str | None,
    suite: str | None,
    zero_shot: bool,
    measures: list[str] | None,
    columns: list[str] | None,
    top: int | None,
    plot: str | None,
    **drawn: Any,
) -> None:
    """Print quality and costs of stored records.

    The tables are by task, one table of chosen columns, or a board defined in leaderboards/.
    """
    from rankstone.leaderboards.board_spec import measures_among
    from rankstone.leaderboards.costs import named_cost
    from rankstone.leaderboards.pages import suite as means
    from rankstone.leaderboards.pages.plots import page as picture
    from rankstone.leaderboards.trained import zero_shot as without_trained

    if (columns or plot) and suite:
        raise typer.BadParameter("--suite prints means only; leave out --columns and --plot")
    if plot is not None and out.form not in ("svg", "pdf", "html"):
        raise typer.BadParameter("--plot makes a picture; give -o FILE.svg or FILE.pdf")
    if added := measures_among([*(measures or ()), *(columns or ())]):
        here.with_measures([record for record, _ in here.records(**filters)], added)
    if columns or table is not None:
        made = here.board(
            table, measures=(measures or ()) if columns else (), columns=columns or (),
            top=top, zero_shot=zero_shot, **drawn, **filters,
        )  # fmt: skip
        out.draw(made, "leaderboard")
    elif plot is not None:
        found = here.labelled(record for record, _ in here.records(**filters))
        out.draw(picture(without_trained(found) if zero_shot else found, named_cost(plot)), "plot")
    elif suite is not None:
        out.draw(means.page(here.suite_means(suite, zero_shot=zero_shot, **filters)), "means")
    else:
        found = [record for record, _ in here.records(**filters)]
        out.board(here.labelled(without_trained(found) if zero_shot else found), top=top)


@command("results", "data", "cache", "workspace")
def show(
    here: Session,
    out: Output,
    record: RecordArgument,
    rules: Annotated[
        Rules | None, typer.Option("--as", help="Compare with the rules of this tool.")
    ] = None,
) -> None:
    """Show a record, or score its run by another tool's rules."""
    from rankstone.leaderboards.records.comparison import comparison_page
    from rankstone.leaderboards.records.page import page

    [(found, path)] = here.records([record])
    if rules is None:
        out.draw(page(found), "record")
        return
    rows = here.compare_rules(found, path, rules.value)
    out.draw(comparison_page(found, rules.value, rows), "record")


records = typer.Typer(
    no_args_is_help=True, help="Stored records: list, show, label, remove, publish."
)


@records.command("ls")
@command("results", "workspace")
def list_records(here: Session, out: Output, filters: Filters) -> None:
    """List records, also failed and unreadable ones."""
    from rankstone.leaderboards.records.listing import page

    out.draw(page(here.all_records(**filters)), "records")


@records.command("show")
@command("results", "workspace")
def summarise_record(
    here: Session,
    out: Output,
    record: RecordArgument,
) -> None:
    """Summarise one record; `rankstone show` prints all of it."""
    from rankstone.leaderboards.records.summary import page

    [(found, path)] = here.records([record])
    out.draw(page(found, path), "record")


@records.command("label")
@command("results", "workspace")
def label_records(
    here: Session,
    names: Annotated[
        list[str],
        typer.Argument(metavar="RECORD... LABEL", help="Records as for rm; then '' for no label."),
    ],
) -> None:
    """Set the label that boards show instead of the method's name.

    A note below the board states the name. The label is lost if the cell is measured again.
    """
    *named, label = names
    if not named:
        raise typer.BadParameter("name a record, then the label")
    for path in here.label_records(named, label):
        echo(str(path))


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
        list[str] | None, typer.Argument(help="Only tasks whose names begin with these [all].")
    ] = None,
    latency: Annotated[
        bool, typer.Option("--latency/--no-latency", help="Publish latencies, or leave them out.")
    ] = True,
) -> None:
    """Copy records that are fit to publish.

    These have steady latencies and were measured with committed code. Exit code 1 if any other
    record is refused.
    """
    from rankstone.leaderboards.publishing import publish, refused, without_latency

    root = here.store.folder.resolve()
    below = None if to is None else to.resolve()
    stored = [
        (record if latency else without_latency(record), path.resolve())
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
