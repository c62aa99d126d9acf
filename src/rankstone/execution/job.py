"""A cell: one method on one task, and all that its process needs to know."""

from __future__ import annotations

import functools
import hashlib
import platform
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from rankstone.benchmarks.dataset import Sources
from rankstone.specs import MethodSpec, TaskSpec, canonical_digest

LATENCY_QUERIES = 200
LATENCY_WARMUP = 20
LATENCY_BUDGET_S = 30.0
"""No more queries are timed, nor asked to warm up, after so long each; a slow method's record has
fewer of them."""
QUERY_BATCH = 1024


class Job(BaseModel):
    """What the parent hands to a cell's process, as JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: MethodSpec
    task: TaskSpec
    data: Path | None
    cache: Path
    staging: Path
    """An empty folder for the files beside the record."""
    seed: int = 0
    threads: int
    workspace: Path
    command: tuple[str, ...] = ()

    @property
    def sources(self) -> Sources:
        return Sources(data=self.data, cache=self.cache)


@functools.cache
def source_digest() -> str:
    """sha256 over this package's own code: edited rules are other rules, whatever the version."""
    digest = hashlib.sha256()
    root = Path(__file__).parents[1]
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


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
