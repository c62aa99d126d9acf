"""Key of a cell: the digest of everything that can change its results."""

from __future__ import annotations

import functools
import hashlib
import platform
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rankstone.runners.construct import located_models, parts, refuse_unavailable
from rankstone.specs import MethodSpec, TaskSpec, canonical_digest

HOME = Path(__file__).parents[1]
DIGESTED = (
    "benchmarks", "encodings", "evaluation", "execution", "profiling", "runners", "scoring",
    "training", "files.py", "predicates", "registry.py", "specs", "strict.py", "text_files.py",
    "results/per_query.py", "results/trec_run.py",
)  # fmt: skip
"""Folders and files of the package whose code can change a measurement. Of `results`, only the
writers of rankings and values per query: the other modules store and read measurements."""


@functools.cache
def source_digest(home: Path = HOME) -> str:
    """Return the sha256 of the code that can change a measurement, in the package at `home`."""
    digest = hashlib.sha256()
    for path in _files(home):
        digest.update(path.relative_to(home).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _files(home: Path) -> Iterator[Path]:
    for name in DIGESTED:
        path = home / name
        yield from sorted(path.rglob("*.py")) if path.is_dir() else [path]


def model_files(method: MethodSpec) -> dict[str, dict[str, str]]:
    """Return the sha256 of each file of a method's models, by method name and model.

    Raises:
        ModelError: a model is missing, or was never released.
    """
    refuse_unavailable(method)
    return {
        name if key == "model" else f"{name}: {key}": dict(model.files)
        for name, part in parts(method)
        for key, model in located_models(part).items()
    }


def cell_key(
    method: MethodSpec,
    task: TaskSpec,
    *,
    data: dict[str, str],
    models: dict[str, dict[str, str]],
    code: dict[str, str],
    packages: dict[str, str],
    seed: int,
    device: str,
    threads: int,
    training: Sequence[str],
) -> str:
    """Return the digest of everything that can change the results, by which they are reused.

    Args:
        data: sha256 of corpus, queries and judgements.
        models: sha256 of each file of the models, by method name.
        code: digest of the adapter's code, by method name.
        packages: versions of the libraries that affect results.
        training: digests of the training split, and of the data that recipes use.
        device: kind of device for methods whose definition states none.
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
        "device": device,
        "threads": threads,
        **({"training": list(training)} if training else {}),
    }
    return canonical_digest(body)
