"""Pages that mkdocs makes from the code: commands, TOML files, the Python API, the notebook.

`pages()` returns them as Markdown by path; mkdocs calls `on_files` for every build.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import json
import re
import string
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

import rankstone
from rankstone import registry
from rankstone.leaderboards.board_spec import TableSpec
from rankstone.leaderboards.gates.rules import CostRule, GateRules, LoadRule, QualityRule
from rankstone.leaderboards.papers.claims import ClaimSpec
from rankstone.leaderboards.papers.tables import PaperSpec, RowSpec
from rankstone.runners.protocols import Context, Index, Runner, Scorer
from rankstone.session import Session
from rankstone.specs import Archive, Counts, MethodSpec, ModelSpec, ScorerSpec, SuiteSpec, TaskSpec
from rankstone.workspace import Settings

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

HERE = Path(__file__).parent
FILES: tuple[tuple[str, tuple[type[BaseModel], ...]], ...] = (
    ("rankstone.toml", (Settings,)),
    ("runners/FAMILY/NAME.toml", (MethodSpec, ModelSpec, Archive, ScorerSpec)),
    ("benchmarks/FAMILY.toml", (TaskSpec, Counts)),
    ("benchmarks/suites.toml", (SuiteSpec,)),
    ("leaderboards/NAME.toml", (TableSpec,)),
    ("leaderboards/papers/NAME.toml", (PaperSpec, RowSpec)),
    ("leaderboards/claims/NAME.toml", (ClaimSpec,)),
    ("gate.toml", (GateRules, QualityRule, CostRule, LoadRule)),
)
"""Every TOML file, and the specs of its tables."""
DERIVED = ("name", "stated_in")
"""Fields that are no keys of a file."""
PROTOCOLS = (Runner, Index, Context, Scorer)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages to those of the folder."""
    from mkdocs.structure.files import File

    for path, text in pages().items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Link to the notebook's page, not to its file."""
    return markdown.replace("notebook.ipynb)", "notebook.md)")


def pages() -> dict[str, str]:
    """Return the Markdown of each generated page."""
    return {
        "reference/commands.md": "\n".join(commands()),
        "reference/toml.md": "\n".join(toml_files()),
        "reference/python.md": "\n".join(python_api()),
        "notebook.md": "\n".join(notebook(HERE / "notebook.ipynb")),
    }


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Yield a Markdown table; nothing without rows."""
    lines = [[re.sub(r"\s+", " ", _without_pipes(str(cell))) for cell in row] for row in rows]
    if lines:
        yield from ("", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|")
        yield from (f"| {' | '.join(line)} |" for line in lines)
        yield ""


def _without_pipes(text: str) -> str:
    """Escape the pipes outside of code, where they would end a cell."""
    return "`".join(
        part if n % 2 else part.replace("|", "\\|") for n, part in enumerate(text.split("`"))
    )


def commands() -> Iterator[str]:
    """Yield the reference of the command line, from its own help."""
    from typer.main import get_command

    from rankstone.cli.app import app

    yield "# Command line\n\nGenerated from the code; [Commands](../commands.md) is the overview.\n"
    for name, command in sorted(get_command(app).commands.items()):  # type: ignore[attr-defined]
        inner = getattr(command, "commands", {"": command})
        yield f"## rankstone {name}\n"
        if inner.keys() != {""}:
            yield f"{command.help}\n"
        for verb, one in sorted(inner.items()):
            if verb:
                yield f"### rankstone {name} {verb}\n"
            yield from _command(f"rankstone {name} {verb}".strip(), one)


def _command(name: str, command: Any) -> Iterator[str]:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and p.name != "help"]
    needed = [f"{p.opts[0]} {p.name.upper()}" for p in options if p.required]
    named = [p.metavar or _value(p) for p in arguments]
    texts = [
        f"{text}..." if p.nargs == -1 else text for p, text in zip(arguments, named, strict=True)
    ]
    shown = [text if p.required else f"[{text}]" for p, text in zip(arguments, texts, strict=True)]
    usage = " ".join([name, *shown, *needed, *(["[OPTIONS]"] if options else [])])
    yield f"{inspect.cleandoc(command.help or '')}\n\n```text\n{usage}\n```"
    yield from table(
        ("argument", "meaning"),
        ((f"`{n}`", p.help or "") for n, p in zip(named, arguments, strict=True)),
    )
    yield from table(("option", "meaning"), ((_option(p), _help(p)) for p in options))


def _option(option: Any) -> str:
    value = "" if option.is_flag else option.metavar or _value(option)
    return f"`{', '.join(option.opts)}{' ' * bool(value)}{value}`"


def _value(parameter: Any) -> str:
    """Return the choices of a parameter, or else its kind or name in capitals."""
    kind = parameter.type_descriptor.annotation
    if isinstance(kind, type) and issubclass(kind, Enum):
        return "|".join(map(str, kind))
    return "NUMBER" if kind in (int, float) else parameter.name.upper()


def _help(option: Any) -> str:
    more = [f"environment: `{option.envvar}`"] if option.envvar else []
    more += ["required"] if option.required else []
    more += ["repeatable"] if option.multiple and "repeatable" not in (option.help or "") else []
    return f"{option.help or ''} ({', '.join(more)})" if more else option.help or ""


def toml_files() -> Iterator[str]:
    """Yield the reference of the keys of TOML files, from their specs and adapters."""
    yield "# TOML files\n\nGenerated from the code. Unknown keys are refused with file and key.\n"
    for file, specs in FILES:
        yield f"## `{file}`\n"
        for spec in specs:
            yield f"### {spec.__name__}\n\n{_prose(spec)}\n"
            yield from table(("key", "type", "default", "meaning"), _keys(spec))
    yield "## Parameters of adapters\n"
    for name in sorted(registry.ADAPTERS):
        adapter = registry.load("adapter", name, "the reference")
        yield f"### `{name}`\n\n{_prose(adapter)}\n"
        yield from table(("key", "type", "default", "meaning"), _parameters(adapter))
    yield "## Sources of loaders\n"
    for name in sorted(registry.LOADERS):
        loader = registry.load("loader", name, "the reference")
        yield f"### `{name}`\n\n{_prose(loader)}\n"
        given = list(inspect.signature(loader).parameters.values())[2:]
        yield from table(("key of `source`", "type", "default"), map(_given, given))


def _given(parameter: inspect.Parameter) -> tuple[str, str, str]:
    default = "required" if parameter.default is parameter.empty else f"`{parameter.default!r}`"
    return f"`{parameter.name}`", f"`{parameter.annotation}`", default


def _keys(spec: type[BaseModel]) -> Iterator[tuple[str, ...]]:
    meanings = attribute_docs(spec)
    for name, field in spec.model_fields.items():
        if name in DERIVED:
            continue
        stated = (
            "" if field.is_required() else _default(field.get_default(call_default_factory=True))
        )
        yield (
            f"`{name}`",
            f"`{annotations(spec)[name]}`",
            stated or "required",
            meanings.get(name, ""),
        )


def _parameters(adapter: Any) -> Iterator[tuple[str, ...]]:
    meanings = attribute_docs(adapter)
    for field in dataclasses.fields(adapter) if dataclasses.is_dataclass(adapter) else ():
        if field.init and field.name not in ("model", "query_model", "members", "scorer"):
            value = field.default
            if field.default_factory is not dataclasses.MISSING:
                value = field.default_factory()
            default = "required" if value is dataclasses.MISSING else _default(value)
            kind = f"`{annotations(adapter).get(field.name, '')}`"
            yield f"`{field.name}`", kind, default, meanings.get(field.name, "")


def _default(value: Any) -> str:
    if isinstance(value, BaseModel):
        return "see its table"
    if value is PydanticUndefined or value in (None, "", (), {}):
        return "none"
    plain = dict(value) if isinstance(value, Mapping) else value
    return f"`{plain!r}`"


@functools.cache
def _assignments(owner: type) -> list[tuple[ast.AnnAssign, ast.stmt | None]]:
    """Return the annotated attributes of a class and its bases, each with what follows it."""
    return list(_read_assignments(owner))


def _read_assignments(owner: type) -> Iterator[tuple[ast.AnnAssign, ast.stmt | None]]:
    for base in reversed(owner.__mro__):
        if not _is_ours(base):
            continue
        [body] = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        lines = body.body if isinstance(body, ast.ClassDef) else []
        for line, after in zip(lines, [*lines[1:], None], strict=True):
            if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
                yield line, after


def attribute_docs(owner: type) -> dict[str, str]:
    """Return the docstrings below the attributes of a class."""
    return {
        line.target.id: str(after.value.value)
        for line, after in _assignments(owner)
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
    }


def annotations(owner: type) -> dict[str, str]:
    """Return the annotations of a class as they are written, without conditions of pydantic."""
    return {
        line.target.id: re.sub(r"Annotated\[(\w+), .*?\)\]", r"\1", ast.unparse(line.annotation))
        for line, _ in _assignments(owner)
    }


def python_api() -> Iterator[str]:
    """Yield the reference of the public names of `rankstone`."""
    yield (
        "# Python API\n\nGenerated from the code. Functions of `rankstone` in lower case are the"
        " methods of `Session` of the same name, over a default session:"
        " `rankstone.run(...)` is `rankstone.Session().run(...)`. The fields of `Session` may be"
        " given to them as keywords.\n"
    )
    yield from _class(Session, "rankstone.Session")
    for name in ("Runner", "Hits", "RunRecord", "RankstoneError"):
        yield from _class(getattr(rankstone, name), f"rankstone.{name}")
    yield "## Protocols\n\nOf `rankstone.runners.protocols`; tested by the conformance suite.\n"
    for protocol in PROTOCOLS:
        yield from _class(protocol, protocol.__name__, level="###")


def _class(owner: type, title: str, level: str = "##") -> Iterator[str]:
    yield f"{level} {title}\n\n{_prose(owner)}\n"
    docs = attribute_docs(owner)
    public = [name for name in annotations(owner) if name[0] in string.ascii_lowercase]
    yield from table(
        ("field", "type", "meaning"),
        ((f"`{name}`", f"`{annotations(owner)[name]}`", docs.get(name, "")) for name in public),
    )
    for name, member in inspect.getmembers_static(owner):
        found = getattr(member, "fget", getattr(member, "__func__", member))
        if not inspect.isfunction(found) or name.startswith("_") or not _is_ours(found):
            continue
        code = "" if isinstance(member, property) else f"```python\n{signature(found)}\n```\n\n"
        yield f"{level}# `{name}`\n\n{code}{_prose(found)}\n"


def _is_ours(found: Any) -> bool:
    return str(found.__module__).startswith("rankstone")


def signature(function: Callable[..., Any]) -> str:
    """Return name and parameters, a line each where one line is too long."""
    given = inspect.signature(function).parameters.values()
    parts: list[str] = []
    for one in given:
        if one.name == "self":
            continue
        if one.kind is one.KEYWORD_ONLY and "*" not in parts:
            parts.append("*")
        kind = "" if one.annotation is one.empty else f": {one.annotation}"
        parts.append(f"{one.name}{kind}{'' if one.default is one.empty else f' = {one.default!r}'}")
    whole = f"{function.__name__}({', '.join(parts)})"
    if len(whole) < 88:
        return whole
    return "\n".join([f"{function.__name__}(", *(f"    {part}," for part in parts), ")"])


def _prose(owner: Any) -> str:
    """Return a docstring as Markdown: sections as lists, double back-quotes as single ones."""
    text = inspect.cleandoc(owner.__doc__ or "").replace("``", "`")
    text = re.sub(r"^(Args|Attributes):\n((?:    .*\n?)+)", _section, text, flags=re.MULTILINE)
    return re.sub(r"^(Returns|Raises):\s*", r"\n*\1*: ", text, flags=re.MULTILINE)


def _section(found: re.Match[str]) -> str:
    body = textwrap.dedent(found[2]).strip()
    items = re.sub(r"^([\w*, ]+):\s", r"* `\1`: ", body, flags=re.MULTILINE)
    return f"*{'Arguments' if found[1] == 'Args' else found[1]}*:\n\n{items}\n"


def notebook(path: Path) -> Iterator[str]:
    """Yield a notebook as Markdown: texts, code, and its outputs as HTML or text."""
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        yield source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```"
        yield ""
        for output in cell.get("outputs", ()):
            data = output.get("data", {"text/plain": output.get("text", "")})
            if "text/html" in data:
                html = re.sub(r"<style.*?</style>", "", "".join(data["text/html"]), flags=re.DOTALL)
                yield re.sub(r"<(table|tr)\b[^>]*>", r"<\1>", html) + "\n"
            elif data.get("text/plain"):
                yield f"```text\n{''.join(data['text/plain']).rstrip()}\n```\n"
