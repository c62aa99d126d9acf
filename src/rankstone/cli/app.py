"""Command line: every command parses its arguments, calls a method of `Session`, and prints.

Expensive imports are deferred, so that `--help` is fast.

Exit codes: 0 success; 1 a cell failed, a claim does not hold, or a check differs; 2 wrong usage, or
an error in definitions, data or results that aborts the command; 130 interrupted.
"""

from __future__ import annotations

import codecs
import functools
import io
import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, TextIO

import typer

from rankstone import __version__
from rankstone.cli.cache import app as cache_app
from rankstone.cli.compare import compare, power
from rankstone.cli.data import app as data_app
from rankstone.cli.exchange import convert, export, import_results
from rankstone.cli.gate import gate
from rankstone.cli.leaderboard import leaderboard, records, show
from rankstone.cli.list import list_definitions
from rankstone.cli.options import command, echo, stdout
from rankstone.cli.report import report, site
from rankstone.cli.reproduce import claims, explain, reproduce
from rankstone.cli.run import RunCommand, load, plan, run
from rankstone.cli.score import score, verify
from rankstone.errors import RankstoneError, RankstoneWarning

if TYPE_CHECKING:
    from rankstone import Session

ESCAPED = "rankstone"
"""Name of the error handler for characters that the output encoding lacks."""
SEVERAL = (
    "run", "plan", "load", "leaderboard", "compare", "power", "gate", "report", "site", "export",
    "records",
)  # fmt: skip
"""Commands in which the options `LISTS` accept several names."""
LISTS = ("--on", "--measures", "--columns", "--methods", "--family", "--machine")

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Measures retrieval methods: quality, latency, memory, index size, in one record.",
)


@app.callback(invoke_without_command=True)
def version(
    show: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if show:
        typer.echo(f"rankstone {__version__}")
        raise typer.Exit


@command("data", "cache", "workspace")
def doctor(here: Session) -> None:
    """Report installed extras, available data, runnable methods."""
    stdout().print(here.doctor())


@command()
def init(
    here: Session,
    folder: Annotated[Path, typer.Argument(help="Folder of the workspace [this one].")] = Path(),
) -> None:
    """Write a commented workspace.

    It has settings, a method, a task, rules of the gate and a CI workflow.
    """
    for path in here.init(folder):
        echo(path)
    echo("Try it: rankstone run mine/bm25-long bm25 --on mine/tickets", err=True)


app.add_typer(data_app, name="data")
app.add_typer(cache_app, name="cache")
app.add_typer(records, name="records")
app.command("list")(list_definitions)
app.command("import")(import_results)
for cells in (run, plan, load):
    app.command(cls=RunCommand)(cells)
for verb in (
    score, verify, show, leaderboard, convert, claims, compare, power, gate, report, export,
    reproduce, explain, site, doctor, init,
):  # fmt: skip
    app.command()(verb)


def main() -> NoReturn:
    """Run the command line; errors meant for the user are printed without a traceback."""
    warnings.showwarning = _shown
    codecs.register_error(ESCAPED, _escaped)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the parent process
            setattr(sys, name, io.TextIOWrapper(io.FileIO(os.devnull, "w")))
        if isinstance(stream := getattr(sys, name), io.TextIOWrapper):
            stream.reconfigure(errors=ESCAPED)
    try:
        code = _run(sys.argv[1:])
        sys.stdout.flush()
    except OSError as error:
        # The interpreter flushes at exit: discard the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        echo(f"error: {error.filename or 'standard output'}: {error.strerror or error}", err=True)
        sys.exit(2)
    sys.exit(code)


def _run(given: list[str]) -> str | int | None:
    """Run the command; return the exit code."""
    try:
        app(with_lists(given))
    except RankstoneError as error:
        echo(f"error: {error}", err=True)
        return 2
    except ImportError as error:
        name = (error.name or "").partition(".")[0]
        if name == "rankstone":
            raise
        library = f"the library '{name}'" if name else "a library"
        echo(f"error: {library} cannot be imported: {error}. Reinstall it. (rankstone doctor)",
             err=True)  # fmt: skip
        return 2
    except KeyboardInterrupt:
        return 130
    except SystemExit as end:
        return end.code
    return 0


def _escaped(error: UnicodeError) -> tuple[str, int]:
    """Escape characters that the output encoding lacks as in JSON, `\\uXXXX`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    pairs = zip(units[::2], units[1::2], strict=True)
    return "".join(f"\\u{high:02x}{low:02x}" for high, low in pairs), error.end


def _shown(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print Rankstone's own warnings as a line; ignore those of libraries."""
    if issubclass(category, RankstoneWarning):
        echo(f"warning: {message}", err=True)


def with_lists(given: list[str]) -> list[str]:
    """Expand options with several names, in the commands that have such options."""
    # In commands with a single task, a name after --on TASK is an argument.
    several = LISTS if given[:1] and given[0] in SEVERAL else ("--measures",)
    return functools.reduce(spread, several, given)


def spread(arguments: list[str], option: str) -> list[str]:
    """Expand `--on A B C` to `--on A --on B --on C`."""
    spread_out: list[str] = []
    several = False
    for argument in arguments:
        if argument.startswith("-"):
            several = argument == option
        elif several and spread_out[-1] != option:
            spread_out.append(option)
        spread_out.append(argument)
    return spread_out
