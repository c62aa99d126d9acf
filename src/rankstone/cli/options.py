"""Options, sessions, formats and output shared by all commands."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args, get_type_hints

import typer
from typer.models import ArgumentInfo

from rankstone.errors import ResultsError

if TYPE_CHECKING:
    from rich.console import Console

    from rankstone import RunRecord
    from rankstone.leaderboards.document import Page

Format = StrEnum(
    "Format",
    ["terminal", "markdown", "csv", "parquet", "json", "svg", "pdf", "latex", "html"],
)


SUFFIXES = {
    ".txt": Format.terminal, ".md": Format.markdown, ".csv": Format.csv, ".json": Format.json,
    ".svg": Format.svg, ".tex": Format.latex, ".html": Format.html, "": Format.markdown,
    ".parquet": Format.parquet, ".pdf": Format.pdf,
}  # fmt: skip
FormatOption = Annotated[
    Format | None,
    typer.Option("--format", help="Output format [terminal; for a FILE, by its suffix]."),
]
TaskNameOption = Annotated[
    str | None,
    typer.Option("--as", metavar="NAME", help="Name for the only task without a definition."),
]
RecordArgument = Annotated[str, typer.Argument(help="A record's file, or part of METHOD@TASK.")]
RecordsArgument = Annotated[
    list[str] | None,
    typer.Argument(help="Methods, files, or parts of METHOD@TASK [all stored]."),
]
METAVARS: dict[object, str] = {
    "on": "TASK", "methods": "METHOD", "method": "METHOD", "candidates": "METHOD",
    "measures": "MEASURE", "measure": "MEASURE", "timeout": "SECONDS", "memory_limit": "SIZE",
    Path: "PATH", int: "N", float: "NUMBER", str: "TEXT",
}  # fmt: skip
"""Parameter name, or its type -> metavar in the help."""
KEYWORD, REQUIRED = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.empty
Options = Mapping[str, inspect.Parameter]
"""Options and arguments of a command, by name."""
Filters = dict[str, Any]
"""Values of `FILTERS`."""


def parameter(annotation: Any, default: object = None) -> inspect.Parameter:
    """Return a parameter for a table of options, where its key is its name."""
    return inspect.Parameter("_", KEYWORD, annotation=annotation, default=default)


def option(
    kind: Any, help: str, *flags: str, default: object = None, **settings: Any
) -> inspect.Parameter:
    """Return an option, whose flag is by default its name."""
    annotated = cast("Any", Annotated)[kind, typer.Option(*flags, help=help, **settings)]
    return parameter(annotated, default)


def argument(kind: Any, help: str, default: object = REQUIRED) -> inspect.Parameter:
    return parameter(cast("Any", Annotated)[kind, typer.Argument(help=help)], default)


FOLDERS: Options = {
    "results": option(Path | None, "Folder of the records [results/ of the workspace]."),
    "data": option(
        Path | None, "Folder of collections in BEIR layout.", envvar="RANKSTONE_DATA"
    ),
    "cache": option(
        Path | None, "Prepared corpora and encodings [the user's cache folder].",
        envvar="RANKSTONE_CACHE",
    ),
    "workspace": option(
        Path | None, "Folder with your definitions [nearest ancestor that has some]."
    ),
}  # fmt: skip
"""Options for the folders of a session."""
FILTERS: Options = {
    "methods": option(list[str] | None, "Only these: names, or patterns such as 'dense/*'."),
    "on": option(list[str] | None, "Only these tasks, suites, or patterns such as 'beir/*'."),
    "family": option(list[str] | None, "Only methods of these families."),
    "machine": option(list[str] | None, "Only records of these machines."),
}
"""Options that select stored records."""
MEASURES = option(list[str] | None, "Further measures, computed from the stored runs.")
PAGES: Options = {
    "form": parameter(FormatOption),
    "output": option(Path | None, "Write to this file.", "--output", "-o", metavar="FILE"),
    "as_json": option(bool, "The same as --format json.", "--json", default=False),
}
"""Options of commands that output a page."""


def _with_metavar(name: str, hint: Any) -> Any:
    """Set the metavar of an option or argument, instead of its Python type."""
    kind, info = get_args(hint)
    if info.metavar is None and isinstance(info, ArgumentInfo):
        info.metavar = METAVARS.get(name) or name.upper().removesuffix("S")
    elif info.metavar is None:
        info.metavar = next(
            (METAVARS[one] for one in (name, *_leaves(kind)) if one in METAVARS), None
        )
    return hint


def _leaves(kind: Any) -> list[Any]:
    """Return the leaves of a type: `str` and `NoneType` for `list[str] | None`."""
    parts = get_args(kind)
    return [leaf for part in parts for leaf in _leaves(part)] if parts else [kind]


def command(
    *folders: str, default: Format = Format.terminal, options: Options = MappingProxyType({})
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Turn a function into a command; its parameter `here` is the session of the options `folders`.

    A parameter `out` is replaced by the options for format and file, with the format `default`. A
    parameter `filters` is replaced by the options in `FILTERS` that the function does not have
    itself. The function receives the values of `options` by name; they precede its own parameters.
    """

    def made(function: Callable[..., None]) -> Callable[..., None]:
        # `Session` is imported when the command runs, because the import would delay the help.
        hints = get_type_hints(function, localns={"Session": object}, include_extras=True)
        own = inspect.signature(function).parameters
        pages = {name: one for name, one in PAGES.items() if "out" in own and name not in own}
        filters = {n: one for n, one in FILTERS.items() if "filters" in own and n not in own}

        @functools.wraps(function)
        def run(**given: Any) -> None:
            if pages:
                form, file = given.pop("form"), given.pop("output")
                if "as_json" in pages and given.pop("as_json"):
                    form = Format.json
                given["out"] = Output(form=chosen(form, file, default), file=file)
            if filters:
                given["filters"] = {name: given.pop(name) for name in filters}
            named = {name: given.pop(name) for name in folders}
            line = (Path(sys.argv[0]).name, *sys.argv[1:])
            try:
                from rankstone.session import Session

                function(here=Session(**named, command=line), **given)
            except KeyboardInterrupt:
                echo("Interrupted.", err=True)
                raise typer.Exit(130) from None

        replaced = {"here", "out", "filters", *options}
        stated = {
            name: one.replace(annotation=hints[name])
            for name, one in own.items()
            if name not in replaced and one.kind is not one.VAR_KEYWORD
        }
        folder = {name: FOLDERS[name] for name in folders}
        named = [
            one.replace(name=name, kind=KEYWORD, annotation=_with_metavar(name, one.annotation))
            for name, one in {**options, **stated, **filters, **folder, **pages}.items()
        ]
        run.__signature__ = inspect.Signature(named)  # type: ignore[attr-defined]
        run.__annotations__ = {}
        return run

    return made


def write(output: Path, text: str | bytes) -> None:
    from rankstone.files import appearing

    content = text.encode() if isinstance(text, str) else text
    try:
        if output.exists() and not output.is_file():
            # Write to a pipe instead of replacing it; a folder raises an error.
            output.write_bytes(content)
            return
        with appearing(output.resolve()) as out:
            out.write(content)
    except OSError as error:
        raise ResultsError(
            f"{output}: cannot be written: {error.strerror or error}. Make its folder, or name "
            "another file: -o FILE"
        ) from error


def stdout() -> Console:
    from rankstone.leaderboards.formats.terminal import SafeConsole

    return SafeConsole()


def stderr() -> Console:
    from rankstone.leaderboards.formats.terminal import SafeConsole

    return SafeConsole(stderr=True)


def echo(text: object, *, err: bool = False) -> None:
    """Print a line without control characters."""
    from rankstone.leaderboards.document import neutral

    typer.echo(neutral(str(text)), err=err)


def chosen(form: Format | None, output: Path | None, default: Format = Format.terminal) -> Format:
    """Return the output format of a page."""
    if output is None and form in (Format.parquet, Format.pdf):
        raise typer.BadParameter(f"{form} is a binary format; name a file: -o FILE.{form}")
    if output is None:
        return form or default
    by_suffix = SUFFIXES.get(output.suffix)
    if form is None and by_suffix is None:
        known = ", ".join(filter(None, SUFFIXES))
        raise typer.BadParameter(f"{output}: name a file that ends in {known}, or give --format")
    if form is Format.terminal and by_suffix is not form:
        raise typer.BadParameter(
            f"{output}: terminal output is written to .txt files only. (--format markdown)"
        )
    return form or by_suffix or default


@dataclass(frozen=True, kw_only=True)
class Output:
    """Output format of a page, and the file to write; None: standard output."""

    form: Format = Format.terminal
    file: Path | None = None

    def draw(self, page: Page, name: str) -> None:
        """Print the page, or write it to the file, with its pictures as separate files."""
        from rankstone.leaderboards.formats import render, terminal

        on_terminal = self.form is Format.terminal
        if self.file is not None:
            write(self.file, render.content(page, self.form, width=120 if on_terminal else None))
            self._pictures(page, self.file)
            echo(f"{name}: {self.file}")
        elif on_terminal:
            console = stdout()
            console.print(terminal.drawn(page, console.width), highlight=False)
        else:
            sys.stdout.write(render.render(page, self.form))

    def _pictures(self, page: Page, file: Path) -> None:
        """Write the pictures to which a Markdown or LaTeX page refers."""
        from rankstone.leaderboards.formats.pdf import converted

        for picture, svg in page.pictures.items():
            if self.form is Format.markdown:
                write(file.with_name(picture), svg)
            elif self.form is Format.latex:
                write(file.with_name(picture).with_suffix(".pdf"), converted(svg))

    def board(self, records: list[RunRecord], *, top: int | None = None) -> None:
        """Print or write the leaderboard of the records."""
        from rankstone.leaderboards.pages.leaderboard import page

        short = self.form in (Format.terminal, Format.svg)
        self.draw(page(records, short_names=short, top=top), "leaderboard")
