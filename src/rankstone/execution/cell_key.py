"""The digest of all that a cell's numbers depend on: equal keys need not be measured again."""

from __future__ import annotations

import functools
import hashlib
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rankstone.specs import MethodSpec, TaskSpec, canonical_digest

HOME = Path(__file__).parents[1]
DIGESTED = (
    "benchmarks",
    "encodings",
    "evaluation",
    "execution",
    "profiling",
    "runners",
    "scoring",
    "files.py",
    "registry.py",
    "specs.py",
    "strict.py",
    "results/per_query.py",
    "results/trec_run.py",
)
"""Folders and files of the package whose code can change a measurement. Of `results` only what
writes rankings and values per query: the rest stores and reads what was measured."""


@functools.cache
def source_digest(home: Path = HOME) -> str:
    """sha256 over the code that can change a measurement, in the package at `home`."""
    digest = hashlib.sha256()
    for path in _files(home):
        digest.update(path.relative_to(home).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _files(home: Path) -> Iterator[Path]:
    for name in DIGESTED:
        path = home / name
        yield from sorted(path.rglob("*.py")) if path.is_dir() else [path]


def cell_key(
    method: MethodSpec,
    task: TaskSpec,
    *,
    data: dict[str, str],
    models: dict[str, dict[str, str]],
    code: dict[str, str],
    packages: dict[str, str],
    seed: int,
    threads: int,
) -> str:
    """Digest of everything that can change the cell's numbers: equal keys need not run again.

    Args:
        data: sha256 of corpus, queries and judgements.
        models: per method name, the sha256 of each of its model's files.
        code: per method name, the digest of its adapter's code.
        packages: versions of the libraries that compute.
    """
    body: dict[str, Any] = {
        "rankstone": source_digest(),
        "method": method.digest(),
        "task": task.digest(),
        "data": data,
        "models": models,
        "code": code,
        "python": platform.python_version(),
        "packages": packages,
        "seed": seed,
        "threads": threads,
    }
    return canonical_digest(body)
