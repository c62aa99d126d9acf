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
        raise ResultsError(
            f"{fault}. Run it again: rankstone run {record.method.name} --on {record.task.name}"
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
