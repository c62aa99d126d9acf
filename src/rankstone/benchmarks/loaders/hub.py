"""Rows of hub tables: from a local copy, or else through the library `datasets`.

A local copy is a folder, in the data folder, with the repository's own `.parquet` or `.jsonl` files
(`.jsonl` possibly compressed); it needs no extra. Files that the library downloads stay in the hub
client's own cache (`HF_HOME`); the tables that it makes from them are kept in Rankstone's cache
folder.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rankstone.benchmarks.dataset import Sources
from rankstone.benchmarks.readers.jsonl import records
from rankstone.benchmarks.storage.atomic_folders import inside
from rankstone.errors import DataError, require
from rankstone.hub import COMMIT, causes
from rankstone.text_files import plain_name

ENDINGS = (".parquet", ".jsonl")
SPLITS = {"train", "validation", "val", "dev", "test"}
ROWS = 64
"""Number of rows decoded at once: documents of these collections may have a million characters."""
UNREACHABLE = {
    "ConnectionError", "ConnectError", "TransportError", "TimeoutError", "TimeoutException",
    "OfflineModeIsEnabled", "LocalEntryNotFoundError", "URLError",
}  # fmt: skip
GONE = {
    "DatasetNotFoundError", "DataFilesNotFoundError", "RepositoryNotFoundError",
    "RevisionNotFoundError", "EntryNotFoundError", "FileNotFoundError", "HfHubHTTPError",
}  # fmt: skip

Row = tuple[str, dict[str, Any]]
"""Location of a row, for error messages, and the values of its columns."""


@dataclass(frozen=True, kw_only=True)
class HubTable:
    """One split of a table in a hub repository."""

    repository: str
    """`owner/name` on the hub, or a local folder of data files."""
    revision: str
    """Commit of the repository. A branch name gives a warning, because branches move."""
    split: str
    file: str | None = None
    """Path inside a `.zip` of the repository, such as `qmsum.zip/qmsum/validation.jsonl`, for
    repositories whose loading script the library no longer runs."""

    @property
    def source(self) -> str:
        return f"hub:{self.repository}@{self.revision}" + (f"/{self.file}" if self.file else "")

    @property
    def warnings(self) -> set[str]:
        if COMMIT.fullmatch(self.revision):
            return set()
        return {f"{self.source}: the revision '{self.revision}' is a branch and may move"}

    def request(self) -> dict[str, Any]:
        """Return the arguments of `datasets.load_dataset` without the cache folder."""
        if self.file is None:
            return {"path": self.repository, "revision": self.revision, "split": self.split}
        archive, _, member = self.file.partition("/")
        revision = quote(self.revision, safe="")
        return {
            "path": "json",
            "data_files": f"zip://{member}::hf://datasets/{self.repository}@{revision}/{archive}",
            "split": "train",  # the library's name for the split of an explicit list of files
        }


def local_files(sources: Sources, name: str, split: str) -> list[Path]:
    """Return the data files below the folder `name` of the data folder, without those of other
    splits.

    A file belongs to another split if its path names one (`train.jsonl`, `train/0000.parquet`) and
    does not name this one. The list is sorted; it is empty if there is no such folder.
    """
    if sources.data is None:
        return []
    folder = inside(sources.data, name)
    files = sorted(path for path in folder.rglob("*") if plain_name(path.name).endswith(ENDINGS))
    return [path for path in files if _may_hold(path.relative_to(folder), split)]


def _may_hold(path: Path, split: str) -> bool:
    named = SPLITS & set(re.split(r"[^a-z]+", path.as_posix().lower()))
    return not named or split in named


def file_rows(
    paths: list[Path], columns: tuple[str, ...], optional: tuple[str, ...] = ()
) -> Iterator[Row]:
    """Yield the rows of parquet or JSON Lines files, file by file.

    Only `columns`, and those `optional` columns that exist, are read from a parquet file.

    Raises:
        DataError: a file is damaged, or lacks one of `columns`.
    """
    for path in paths:
        if path.name.endswith(".parquet"):
            yield from _parquet_rows(path, columns, optional)
            continue
        for number, record in records(path):
            where = f"{path}, line {number}"
            _require(where, columns, record)
            yield where, record


def _parquet_rows(path: Path, columns: tuple[str, ...], optional: tuple[str, ...]) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            _require(str(path), columns, names)
            wanted = [name for name in names if name in columns or name in optional]
            yield from _rows_in(file.iter_batches(batch_size=ROWS, columns=wanted), path)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: damaged: {error}. Fetch it again.") from None


def open_table(table: HubTable, columns: tuple[str, ...], sources: Sources) -> Any:
    """Open a hub table with `datasets.load_dataset`, reduced to `columns`.

    Raises:
        MissingExtraError: the library is not installed.
        DataError: the hub cannot be reached, the table or revision does not exist, or the content
            is not as expected; the message says which.
    """
    loaded = _load(table, sources)
    _require(table.source, columns, loaded.column_names)
    return loaded.select_columns(list(columns)).with_format("arrow")


def hub_rows(opened: Any, source: str) -> Iterator[Row]:
    """Yield the rows of an opened hub table, in its order."""
    return _rows_in(opened.iter(batch_size=ROWS), source)


def _rows_in(batches: Iterable[Any], source: object) -> Iterator[Row]:
    rows = (row for batch in batches for row in batch.to_pylist())
    return ((f"{source}, row {number}", row) for number, row in enumerate(rows))


def _load(table: HubTable, sources: Sources) -> Any:
    require(f"Loading {table.source}", "beir", "datasets")
    library = importlib.import_module("datasets")
    # One folder per revision: offline, the library takes any revision that it finds in a folder.
    name = quote(f"{table.repository}@{table.revision}", safe="@")
    try:
        return library.load_dataset(**table.request(), cache_dir=str(sources.cache / "hub" / name))
    except Exception as error:
        # The exceptions come from about ten libraries, and change between versions.
        raise DataError(_explain(table, error)) from error


def _explain(table: HubTable, error: BaseException) -> str:
    names = {kind.__name__ for cause in causes(error) for kind in type(cause).__mro__}
    message = " ".join(str(error).split())[:300]
    if names & UNREACHABLE:
        return (
            f"{table.source}: no network: the hub cannot be reached ({message}). Connect and run "
            "again, or name a folder that holds the files with --data DIR or RANKSTONE_DATA."
        )
    if names & GONE:
        return (
            f"{table.source}: source gone: the hub has no such table at this revision ({message}). "
            "Correct 'source' in the task's definition, or get the files elsewhere (--data DIR)."
        )
    return f"{table.source}: wrong content: it cannot be read as a table ({message})."


def _require(where: str, columns: tuple[str, ...], found: Any) -> None:
    missing = [name for name in columns if name not in found]
    if missing:
        raise DataError(
            f"{where}: wrong content: no column '{missing[0]}', expected {', '.join(columns)}, "
            f"found {', '.join(found)}. Fetch it again."
        )
