"""`rankstone reproduce`, `explain` and `claims`: compare publications with measurements."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rankstone.cli.options import Format, Output, RecordArgument, command, write
from rankstone.errors import DefinitionError

if TYPE_CHECKING:
    from rankstone import Session


class Missing(StrEnum):
    run = "run"
    skip = "skip"


@command("results", "data", "cache", "workspace")
def reproduce(
    here: Session,
    out: Output,
    tables: Annotated[
        list[str] | None, typer.Argument(help="Published tables [all, from stored records].")
    ] = None,
    listed: Annotated[
        bool, typer.Option("--list", help="List tables with the share reproduced; runs nothing.")
    ] = False,
    missing: Annotated[
        Missing | None,
        typer.Option(
            "--missing",
            help="Run or skip missing cells [run, if tables are named].",
        ),
    ] = None,
) -> None:
    """Compare measured values with published tables.

    Each value is within, above or below its tolerance, or not run.

    Exit code 1 if a value deviates. Markdown files get a .json file with the numbers.
    """
    from rankstone.cli.bars import drawn
    from rankstone.leaderboards.pages.papers import coverage_page, page
    from rankstone.leaderboards.papers.tested import tables_to_json

    if missing is Missing.run and listed:
        raise typer.BadParameter("--list runs nothing")
    if missing is Missing.run and not tables:
        raise DefinitionError(
            "Running all tables takes terabytes and weeks. Name those to run (rankstone reproduce"
            " --list), or use stored records only: --missing skip"
        )
    runs = bool(tables) and not listed and missing is not Missing.skip
    with drawn(here) as here:
        found = here.reproduce(tables or (), missing="run" if runs else "skip")
    brief = listed or (out.form is Format.terminal and not tables)
    made = coverage_page(found) if brief else page(found, every=bool(tables))
    out.draw(made, "tables")
    if out.file is not None and out.form is Format.markdown and not listed:
        write(out.file.with_suffix(".json"), tables_to_json(found))
    if not listed and any(one.deviates for one in found):
        raise typer.Exit(1)


@command("results", "data", "cache", "workspace")
def claims(
    here: Session,
    out: Output,
    names: Annotated[list[str] | None, typer.Argument(help="Claims [all].")] = None,
    missing: Annotated[
        Missing, typer.Option("--missing", help="Run or skip missing cells.")
    ] = Missing.run,
    update: Annotated[
        bool, typer.Option("--update", help="Keep the other claims in the file of -o.")
    ] = False,
) -> None:
    """Check claims of papers against records.

    Each claim holds, does not hold, is inconclusive, or was not tested.

    Exit code 1 if a claim does not hold. Markdown files get a .json file with the numbers.
    """
    from rankstone.cli.bars import drawn
    from rankstone.leaderboards.pages.claims import page
    from rankstone.leaderboards.papers.claims import ClaimSpec
    from rankstone.leaderboards.papers.tested import claims_from_json, claims_to_json

    target = out.file if out.form is Format.markdown else None
    if update and target is None:
        raise typer.BadParameter("--update goes with -o FILE.md")
    with drawn(here) as here:
        found, records = here.claims(names or (), missing=missing.value)
    made = page(found, records)
    if target is not None:
        numbers = target.with_suffix(".json")
        kept = numbers.read_text(encoding="utf-8") if update and numbers.is_file() else "[]"
        text = claims_to_json(found, records, kept)
        every = here.definitions.load(ClaimSpec, "leaderboards/claims")
        made = page(claims_from_json(text, every))
        write(numbers, text)
    out.draw(made, "claims")
    if any(result.verdict == "does not hold" for result in found):
        raise typer.Exit(1)


@command("results", "data", "cache", "workspace")
def explain(
    here: Session,
    out: Output,
    record: RecordArgument,
    published: Annotated[
        str,
        typer.Option("--published", help="A number, a table (reproduce --list), or TABLE:ROW."),
    ],
    measure: Annotated[
        str | None, typer.Option("--measure", help="Its measure [the task's headline].")
    ] = None,
    qrels: Annotated[
        list[Path] | None, typer.Option("--qrels", help="Other judgements to try.")
    ] = None,
    encodings: Annotated[
        bool,
        typer.Option("--encodings", help="Try changes of the stored vectors; encodes the queries."),
    ] = False,
    rerun: Annotated[
        bool,
        typer.Option("--rerun", help="Run the method again without prompts, titles and so on."),
    ] = False,
    queries: Annotated[
        int | None, typer.Option("--queries", min=1, help="With --rerun: only the first N queries.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """Explain why a stored number differs from a published one.

    By default only what is exact and takes seconds: rules of tools, cutoffs, other judgements.
    """
    from rankstone.cli.bars import drawn
    from rankstone.leaderboards.pages.explain import page

    if queries is not None and not rerun:
        raise typer.BadParameter("--queries goes with --rerun")
    with drawn(here) as here:
        found = here.explain(
            record,
            published,
            measure=measure,
            qrels=qrels or (),
            encodings=encodings,
            rerun=rerun,
            queries=queries,
        )
    (replace(out, form=Format.json) if as_json else out).draw(page(found), "explanation")
