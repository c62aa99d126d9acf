"""The embedded benchmark: the standard library of the running Python, without a download.

`functions`: documents are the functions and methods with a docstring, as source without the
docstring; the query is the first paragraph of the docstring. `modules`: the same with whole
modules.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import os
import platform
import re
import sysconfig
import tokenize
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from rankstone.benchmarks.dataset import Document, Judgement, Query, RawDataset, Sources
from rankstone.errors import DefinitionError
from rankstone.specs import TaskSpec, canonical_digest

EXCLUDED_FOLDERS = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}
EXCLUDED_PACKAGES = {"idlelib", "tkinter", "turtledemo"}
"""Modules that need Tk. Many distributions package them separately, so that with them two
installations of one Python version would be different data sets."""
BUILD_FILES = ("config-", "_sysconfigdata")
"""Modules that the build generates for one platform."""
MIN_WORDS = 4
TRAIN_SHARE = 5
"""One in this many queries belongs to the train split."""

Part = Literal["functions", "modules"]
Documented = ast.Module | ast.FunctionDef | ast.AsyncFunctionDef


class Entry(NamedTuple):
    """A documented function or module."""

    id: str
    text: str
    """Source without the docstring."""
    query: str
    """First paragraph of the docstring, on one line."""


def load(
    task: TaskSpec,
    sources: Sources,
    *,
    part: Part,
    folder: str | None = None,
    documents: int | None = None,
    asked_of: int | None = None,
) -> RawDataset:
    """Return `functions` or `modules` of the standard library (or of the sources in `folder`).

    Args:
        documents: number of documents to keep, chosen by the sha256 of their ids, so that smaller
            corpora are subsets of larger ones.
        asked_of: number of documents whose queries are used, so that corpora of several sizes have
            the same queries.

    Raises:
        DefinitionError: `part` is another value, or a size is not a positive number.
    """
    if part not in get_args(Part):
        raise DefinitionError(
            f"task '{task.name}': key 'source.part': expected 'functions' or 'modules', "
            f"found {part!r}."
        )
    for key, n in (("documents", documents), ("asked_of", asked_of)):
        if n is not None and (type(n) is not int or n < 1):
            raise DefinitionError(
                f"task '{task.name}': key 'source.{key}': expected a number from 1, found {n!r}."
            )
    root = Path(folder or sysconfig.get_paths()["stdlib"])
    files = source_files(root)
    listing = [[name, (root / name).stat().st_size] for name in files]
    return raw_dataset(
        lambda: build(root, files, part),
        split_of=split_of,
        fingerprint=canonical_digest(
            [platform.python_version(), part, listing, *filter(None, [documents, asked_of])]
        ),
        documents=documents,
        asked_of=asked_of,
        source=f"{platform.python_implementation()} {platform.python_version()} standard library",
    )


def raw_dataset(
    entries: Callable[[], list[Entry]],
    *,
    split_of: Callable[[str], str],
    fingerprint: str,
    source: str,
    documents: int | None = None,
    asked_of: int | None = None,
) -> RawDataset:
    """Return documents, each of which is the answer to the query of its own docstring."""
    # Parsed once for documents, queries and judgements, because it dominates the cost.
    built = functools.cache(entries)
    kept = functools.cache(lambda: drawn(built(), documents))

    @functools.cache
    def queried() -> list[Entry]:
        answers = {entry.id for entry in drawn(kept(), asked_of)}
        return [entry for entry in asked(built()) if entry.id in answers]

    return RawDataset(
        documents=lambda: (Document(e.id, "", e.text) for e in kept()),
        queries=lambda: (Query(query_id(e), e.query) for e in queried()),
        judgements=lambda split: (
            Judgement(query_id(e), e.id, 1) for e in queried() if split_of(e.id) == split
        ),
        splits=lambda: ["test", "train"],
        fingerprint=fingerprint,
        source=source,
    )


def source_files(root: Path) -> list[str]:
    """Return the source files below `root` that are used, as sorted relative posix paths."""
    found: list[str] = []
    for place, folders, files in os.walk(root):
        folder = Path(place).relative_to(root)
        folders[:] = [name for name in folders if not _excluded(folder / name)]
        names = (folder / name for name in files if name.endswith(".py"))
        found += [path.as_posix() for path in names if not _excluded(path)]
    return sorted(found)


def _excluded(path: Path) -> bool:
    top = path.parts[0]
    return path.name in EXCLUDED_FOLDERS or top in EXCLUDED_PACKAGES or top.startswith(BUILD_FILES)


def build(root: Path, files: list[str], part: Part) -> list[Entry]:
    """Return the documented functions or modules, by file, then in source order; ids are unique.

    Functions and modules that consist of their docstring alone are left out.
    """
    found: list[Entry] = []
    used: Counter[str] = Counter()
    for name in files:
        for qualified, node, lines in _documented(root / name, module_name(name), part):
            text = source_without_docstring(node, lines)
            if not text.strip():
                continue
            used[qualified] += 1
            times = used[qualified]
            identifier = qualified if times == 1 else f"{qualified}#{times}"
            found.append(Entry(identifier, text, first_paragraph(node)))
    return found


def module_name(path: str) -> str:
    """`json/decoder.py` -> `json.decoder`, `json/__init__.py` -> `json`."""
    return path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")


def _documented(path: Path, module: str, part: Part) -> Iterator[tuple[str, Documented, list[str]]]:
    """Yield qualified name, syntax node and lines of each documented object in one file."""
    try:
        with tokenize.open(path) as file:
            source = file.read()
        with warnings.catch_warnings():
            # Warnings about invalid escapes in old sources do not concern the user.
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except (SyntaxError, UnicodeDecodeError, ValueError):
        return  # a template, or a deliberately broken file
    # For Python form feeds do not end lines, unlike for str.splitlines.
    lines = source.split("\n")
    nodes = [(module, tree)] if part == "modules" else _functions(tree, module)
    for name, node in nodes:
        if (ast.get_docstring(node) or "").strip():
            yield name, node, lines


def _functions(
    node: ast.AST, prefix: str
) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Yield all functions below `node`, methods and nested ones too, in source order."""
    for child in ast.iter_child_nodes(node):
        inner = prefix
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inner = f"{prefix}.{child.name}"
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield inner, child
        yield from _functions(child, inner)


def source_without_docstring(node: Documented, lines: list[str]) -> str:
    """Return the source of `node` without its docstring, dedented by the indent of its `def`."""
    docstring = node.body[0]
    if isinstance(node, ast.Module):
        first, last, indent = 1, len(lines), 0
    else:
        first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
        last = node.end_lineno or node.lineno
        indent = len(lines[node.lineno - 1][: node.col_offset].lstrip("\f"))
    end = docstring.end_lineno or docstring.lineno
    # Offsets in the syntax tree count UTF-8 bytes.
    before = lines[docstring.lineno - 1].encode()[: docstring.col_offset].decode()
    after = lines[end - 1].encode()[docstring.end_col_offset :].decode()
    joint = [before + after] if (before + after).strip() else []
    kept = [*lines[first - 1 : docstring.lineno - 1], *joint, *lines[end:last]]
    return "\n".join(_dedent(line, indent) for line in kept).strip("\n\f")


def _dedent(line: str, indent: int) -> str:
    """Remove white space within the first `indent` characters."""
    head = line[:indent]
    return line[indent:] if not head.strip() else line


def first_paragraph(node: Documented) -> str:
    """Return the first paragraph of a docstring as one line."""
    text = inspect.cleandoc(ast.get_docstring(node, clean=False) or "")
    return " ".join(re.split(r"\n\s*\n", text.strip(), maxsplit=1)[0].split())


def asked(entries: list[Entry]) -> list[Entry]:
    """Return the entries with a query: a unique first paragraph of at least `MIN_WORDS` words."""
    times = Counter(entry.query for entry in entries)
    return [e for e in entries if times[e.query] == 1 and len(e.query.split()) >= MIN_WORDS]


def drawn(entries: list[Entry], n: int | None) -> list[Entry]:
    """Return `n` entries, or all, by the sha256 of their ids, in their original order."""
    if n is None:
        return entries
    first = set(sorted((entry.id for entry in entries), key=lambda id: hashed(f"drawn {id}"))[:n])
    return [entry for entry in entries if entry.id in first]


def query_id(entry: Entry) -> str:
    """Return an id different from that of the document, so that the answer is not a self hit."""
    return f"{entry.id}.__doc__"


def split_of(identifier: str) -> str:
    """Return `train` for one id in five, by its sha256; `test` for the others."""
    return "train" if hashed(identifier) % TRAIN_SHARE == 0 else "test"


def hashed(identifier: str) -> int:
    """Return the first 8 bytes of the sha256 of `identifier` as an integer."""
    return int.from_bytes(hashlib.sha256(identifier.encode("utf-8")).digest()[:8], "big")
