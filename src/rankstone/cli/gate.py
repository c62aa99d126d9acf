"""`rankstone gate`: regression check of a candidate against a baseline, for CI."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rankstone.cli.options import Output, command, echo, write

if TYPE_CHECKING:
    from rankstone import Session
    from rankstone.leaderboards.document import Page


@command("results", "data", "cache", "workspace")
def gate(
    here: Session,
    out: Output,
    baseline: Annotated[
        str,
        typer.Option(
            "--baseline", help="Folder of records, or a method; with --ab a checkout or commit."
        ),
    ],
    candidate: Annotated[str, typer.Option("--candidate", help="Candidate, in the same form.")],
    rules: Annotated[
        Path | None, typer.Option("--rules", help="TOML file of allowances [headline −.005].")
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(
            "--ab",
            min=2,
            help="Measure both versions alternately on this machine, at most this many rounds.",
        ),
    ] = None,
    method: Annotated[
        list[str] | None, typer.Option("--method", help="With --ab: methods to run.")
    ] = None,
    on: Annotated[list[str] | None, typer.Option("--on", help="Only these tasks.")] = None,
    junit: Annotated[Path | None, typer.Option("--junit", help="Write JUnit XML here.")] = None,
    as_json: Annotated[Path | None, typer.Option("--json", help="Write JSON here.")] = None,
) -> None:
    """Compare a candidate with its baseline and report regressions.

    Exit code 0: pass; 1: a regression or a missing record; 2: undecided or not comparable.
    """
    from rankstone.leaderboards.gate import exit_code
    from rankstone.leaderboards.pages.gate import page

    if rounds is None:
        if method:
            raise typer.BadParameter(
                "--method selects what --ab runs; without --ab stored records are compared"
            )
        found = here.gate(baseline, candidate, rules=rules, on=on)
    else:
        found = here.gate_ab(
            (baseline, candidate),
            method or (),
            on or (),
            rounds=rounds,
            rules=rules,
            report=lambda line: echo(line, err=True),
        )
    out.draw(page(found), "judgements")
    _report(page(found), junit, as_json)
    raise typer.Exit(exit_code(found))


def _report(page: Page, junit: Path | None, as_json: Path | None) -> None:
    """Write the requested files, and on GitHub annotations and a job summary."""
    from rankstone.leaderboards.formats.render import render

    if junit is not None:
        write(junit, render(page, "junit"))
    if as_json is not None:
        write(as_json, render(page, "json"))
    if os.environ.get("GITHUB_ACTIONS") == "true":
        sys.stdout.write(render(page, "github"))
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary:
        with Path(summary).open("a", encoding="utf-8") as file:
            file.write(render(page, "markdown"))
