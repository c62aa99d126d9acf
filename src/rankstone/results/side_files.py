"""The files beside a record: the run, values per query, raw latencies, requests under load."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from rankstone.errors import ResultsError
from rankstone.files import sha256_of
from rankstone.results.record import RunRecord

Kind = Literal["run", "per_query", "latency", "load"]
SUFFIXES: dict[Kind, str] = {
    "run": ".run.zst",
    "per_query": ".per-query.parquet",
    "latency": ".latency.parquet",
    "load": ".load.parquet",
}
SCORED = "runs/"
"""Prefix of run files scored by `rankstone score`, which have no definition and cannot be run."""
WORDS: dict[Kind, str] = {
    "run": "run", "per_query": "values per query", "latency": "latencies",
    "load": "requests under load",
}  # fmt: skip


def again(method: str, task: str) -> str:
    """Return the command that makes the record of a method on a task."""
    if method.startswith(SCORED):
        return f"rankstone score FILE --on {task} --name {method}"
    return f"rankstone run {method} --on {task}"


def side_file(record: RunRecord, path: Path, kind: Kind) -> Path | None:
    """Return a file beside the record at `path`; None if it does not exist.

    All readers of side files use this function.

    Raises:
        ResultsError: the file differs from the one written with the record.
    """
    name = record.files[kind]
    file = None if name is None else path.with_name(name)
    if file is None or not file.is_file():
        return None
    if fault := _fault(record, file, kind):
        raise ResultsError(f"{fault}. Run it again: {again(record.method.name, record.task.name)}")
    return file


def needed_file(record: RunRecord, path: Path, kind: Kind) -> Path:
    """Return a file beside the record at `path`; a ResultsError where it is not there."""
    file = side_file(record, path, kind)
    if file is None:
        method, task = record.method.name, record.task.name
        raise ResultsError(
            f"{method} on {task}: no {WORDS[kind]} beside {path} (published records are kept"
            f" without). Measure it into a folder of your own: {again(method, task)} --results DIR"
        )
    return file


def side_file_faults(record: RunRecord, path: Path) -> Iterator[str]:
    """Yield a message for each side file of the record at `path` that is missing or changed."""
    for kind in SUFFIXES:
        if record.files[kind] is not None:
            file = path.with_name(record.files[kind])
            if fault := _fault(record, file, kind):
                yield fault


def _fault(record: RunRecord, file: Path, kind: Kind) -> str | None:
    digest = record.files[f"{kind}_sha256"]
    if not file.is_file():
        return f"{kind}: {file} is missing"
    try:
        found = sha256_of(file)
    except OSError as error:
        return f"{kind}: {file} cannot be read: {error.strerror or error}"
    return None if found == digest else f"{kind}: {file} has sha256 {found}, recorded {digest}"


def files_intact(record: RunRecord, path: Path) -> bool:
    """Return True if every side file of the record at `path` is present and unchanged."""
    return not any(side_file_faults(record, path))
