"""The command line: verbs only. Each parses, calls, prints; nothing heavy is imported before it
is needed, so that help is instant.

Exit codes: 0 all ok, 1 a cell failed, 2 wrong usage or a definition, data or results fault that
stops everything, 130 interrupted.
"""

from __future__ import annotations

import re
import signal
import sys
import warnings
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, TextIO

import typer

from rankstone import __version__
from rankstone.cli.cache import app as cache_app
from rankstone.cli.claims import claims
from rankstone.cli.compare import compare
from rankstone.cli.data import app as data_app
from rankstone.cli.exchange import export, import_results
from rankstone.cli.gate import gate
from rankstone.cli.leaderboard import (
    Format,
    print_board,
    print_defined,
    print_means,
    stdout,
)
from rankstone.cli.list import convert, list_definitions
from rankstone.cli.options import CacheOption, DataOption, ResultsOption, WorkspaceOption, session
from rankstone.cli.report import report
from rankstone.cli.reproduce import reproduce
from rankstone.cli.site import site
from rankstone.errors import RankstoneError, RankstoneWarning

if TYPE_CHECKING:
    from rankstone.execution.sweep import Sweep
    from rankstone.results.record import RunRecord

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Measures retrieval methods: quality, latency, memory, index size, in one record.",
)

app.add_typer(data_app, name="data")
app.add_typer(cache_app, name="cache")


SEVERAL = (["run"], ["compare"], ["gate"], ["report"])
"""Commands whose --on may be followed by several tasks."""


class Rules(StrEnum):
    trec_eval = "trec_eval"
    msmarco = "msmarco"
    beir = "beir"
    mteb = "mteb"


@app.callback(invoke_without_command=True)
def version(
    show: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if show:
        typer.echo(f"rankstone {__version__}")
        raise typer.Exit


app.command("list")(list_definitions)


@app.command()
def run(
    methods: Annotated[list[str], typer.Argument(help="Methods (rankstone list runners).")],
    on: Annotated[
        list[str], typer.Option("--on", help="Tasks and suites (rankstone list benchmarks).")
    ],
    results: ResultsOption = None,
    data: DataOption = None,
    cache: CacheOption = None,
    workspace: WorkspaceOption = None,
    k: Annotated[int | None, typer.Option("--k", min=1, help="Depth [the task's].")] = None,
    limit_queries: Annotated[
        int | None, typer.Option("--limit-queries", min=1, help="Only the first so many queries.")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option("--timeout", min=0, help="Seconds a cell may take.")
    ] = None,
    memory_limit: Annotated[
        str | None, typer.Option("--memory-limit", help="Memory a cell may use, as in 8GiB.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of whatever is random.")] = 0,
    force: Annotated[
        bool, typer.Option("--force", help="Measure anew what was already measured.")
    ] = False,
    model_path: Annotated[
        Path | None, typer.Option("--model-path", help="Folder with the one METHOD's weights.")
    ] = None,
) -> None:
    """Run every METHOD on every TASK and store one record per cell."""
    from rich.console import Console

    plan = session(results=results, data=data, cache=cache, workspace=workspace).sweep(
        methods,
        on,
        k=k,
        limit_queries=limit_queries,
        timeout_s=timeout,
        memory_limit_bytes=parse_bytes(memory_limit) if memory_limit else None,
        seed=seed,
        force=force,
        model_path=model_path,
    )
    records = _drawn(plan)
    print_board(records, Format.terminal)
    Console(stderr=True).print(f"records: {plan.store.folder}", highlight=False, soft_wrap=True)
    if any(record.status != "ok" for record in records):
        raise typer.Exit(1)


@app.command()
def score(
    run: Annotated[Path, typer.Argument(help="A TREC run file: plain, .gz or .zst.")],
    on: Annotated[str | None, typer.Option("--on", help="Task it was made for.")] = None,
    qrels: Annotated[
        Path | None, typer.Option("--qrels", help="Judgements, where no task has them.")
    ] = None,
    relevance: Annotated[
        int | None, typer.Option("--relevance", help="With --qrels: lowest relevant label [1].")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the method [runs/<file name>].")
    ] = None,
    results: ResultsOption = None,
    data: DataOption = None,
    cache: CacheOption = None,
    workspace: WorkspaceOption = None,
    form: Annotated[Format, typer.Option("--format", help="How to print it.")] = Format.terminal,
) -> None:
    """Score a run file of any other tool, store its record and compare it."""
    from rich.console import Console

    from rankstone.cli.bars import Drawn

    if relevance is not None and qrels is None:
        raise typer.BadParameter("the task says what is relevant; --relevance goes with --qrels")
    console = Console(stderr=True)
    with Drawn(console) as reporter:
        here = session(
            results=results, data=data, cache=cache, workspace=workspace, reporter=reporter
        )
        least = 1 if relevance is None else relevance
        record = here.score(run, on, qrels=qrels, relevance=least, name=name)
    for warning in record.warnings:
        console.print(f"warning: {warning}", markup=False, highlight=False, soft_wrap=True)
    print_board([r for r, _ in here.records() if r.task.name == record.task.name], form)
    console.print(f"record: {here.store.path(record)}", highlight=False, soft_wrap=True)


@app.command()
def verify(
    records: Annotated[
        list[str] | None, typer.Argument(help="Files, or parts of METHOD@TASK [all stored].")
    ] = None,
    results: ResultsOption = None,
    data: DataOption = None,
    cache: CacheOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Recompute stored measures from stored runs; exit 1 if anything differs."""
    here = session(results=results, data=data, cache=cache, workspace=workspace)
    console, faulty, found = stdout(), 0, here.records(records or ())
    for record, path in found:
        said = here.verify(record, path)
        faulty += bool(said)
        state = "differs" if said else "ok" if record.status == "ok" else f"({record.status})"
        lines = [f"{state:<8} {record.method.name}@{record.task.name}", *said]
        console.print("\n         ".join(lines), markup=False, highlight=False, soft_wrap=True)
    n = sum(record.status == "ok" for record, _ in found)
    console.print(f"{n - faulty} of {n} records verified", highlight=False)
    if faulty:
        raise typer.Exit(1)


@app.command()
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
    """One record in full, or its run under another tool's rules."""
    from rankstone.leaderboards.pages import record as shown

    here = session(results=results, data=data, cache=cache, workspace=workspace)
    [(found, path)] = here.records([record])
    if rules is None and as_json:
        from rankstone.results.serialise import to_json

        sys.stdout.write(to_json(found))
        return
    if rules is None:
        stdout().print(shown.show_record(found))
        return
    rows = here.compare_rules(found, path, rules.value)
    if as_json:
        sys.stdout.write(shown.comparison_json(found, rules.value, rows))
    else:
        stdout().print(shown.show_comparison(found, rules.value, rows))


@app.command()
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
        str | None, typer.Option("--suite", help="Means over this suite instead, as the field's.")
    ] = None,
) -> None:
    """Quality and efficiency of every stored record, or a defined leaderboard."""
    if table is not None:
        print_defined(table, results, workspace, form, output)
        return
    here = session(results=results, workspace=workspace)
    if suite is not None:
        print_means(here, suite, form, output)
        return
    records = [record for record, _ in here.records()]
    print_board(records, form, output)


app.command()(convert)
app.command()(claims)
app.command()(compare)
app.command()(gate)
app.command()(report)
app.command()(export)
app.command("import")(import_results)
app.command()(reproduce)
app.command()(site)


@app.command()
def doctor(
    data: DataOption = None, cache: CacheOption = None, workspace: WorkspaceOption = None
) -> None:
    """What is installed and within reach, and what to install for what."""
    from rankstone.doctor import report

    here = session(data=data, cache=cache, workspace=workspace)
    stdout().print(report(here.definitions, here.sources))


def main() -> NoReturn:
    """The entry point: faults meant for the user are printed without a traceback."""
    warnings.showwarning = _shown
    try:
        # Where one task is meant, a name behind --on TASK is an argument.
        given = sys.argv[1:]
        app(spread(given, "--on") if given[:1] in SEVERAL else given)
    except RankstoneError as error:
        from rich.console import Console

        Console(stderr=True).print(f"error: {error}", markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(0)


def _shown(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Our own warnings as a line for the user; those of libraries are not his concern."""
    if issubclass(category, RankstoneWarning):
        sys.stderr.write(f"warning: {message}\n")


def spread(arguments: list[str], option: str) -> list[str]:
    """`--on A B C` as `--on A --on B --on C`: one option may be followed by several names."""
    spread_out: list[str] = []
    several = False
    for argument in arguments:
        if argument.startswith("-"):
            several = argument == option
        elif several and spread_out[-1] != option:
            spread_out.append(option)
        spread_out.append(argument)
    return spread_out


BYTES = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


def parse_bytes(text: str) -> int:
    """`"8GiB"`, `"512M"`, `"1000000"` -> bytes; units are powers of 1024."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?\s*", text, re.IGNORECASE)
    if match is None:
        raise typer.BadParameter(f"'{text}' is no size; write it as in 8GiB or 512MiB")
    return int(float(match[1]) * BYTES[match[2].lower()])


def _drawn(plan: Sweep) -> list[RunRecord]:
    """The records of all cells, run under bars of progress; exit 130 where it is interrupted."""
    from rich.console import Console

    from rankstone.cli.bars import Drawn

    signal.signal(signal.SIGTERM, _interrupt)
    console = Console(stderr=True)
    records: list[RunRecord] = []
    try:
        with Drawn(console) as reporter:
            for record in plan.run(reporter):
                records.append(record)  # noqa: PERF402 - kept for the message on Ctrl-C
    except KeyboardInterrupt:
        total = len(plan.methods) * len(plan.tasks)
        console.print(
            f"Interrupted: {len(records)} of {total} cells are stored in {plan.store.folder}; "
            "nothing half-written remains. The same command goes on from there.",
            highlight=False,
        )
        raise typer.Exit(130) from None
    return records


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt
