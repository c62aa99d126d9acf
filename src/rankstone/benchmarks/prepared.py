"""The prepared copy of a task's data in the cache: found, counted and verified."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from rankstone.benchmarks.dataset import Sources
from rankstone.benchmarks.storage.arrow_tables import MappedTable, positions_of
from rankstone.benchmarks.storage.atomic_folders import read_meta
from rankstone.benchmarks.store import copy_folder, find_raw, own_folder, verify_dataset
from rankstone.errors import DataError
from rankstone.specs import Counts, TaskSpec


@dataclass(frozen=True, kw_only=True)
class Copy:
    """The converted copy of a task's data: its folders, and the content that exists."""

    folder: Path
    split: Path
    """The folder of the task's split."""
    meta: dict[str, Any] | None
    """The `meta.json` of the corpus; None if it is missing, or a file has another size."""
    split_meta: dict[str, Any] | None
    """The same of the split."""
    source: str
    """Path or address of the original data."""
    by_answers: bool = False
    """True where answers judge the task, so that there are no judgements to count."""

    @property
    def ready(self) -> bool:
        """True if opening the task converts nothing."""
        return self.meta is not None and self.split_meta is not None

    @property
    def absent(self) -> Path | None:
        """The missing folder; None where both exist, whole or not."""
        return next((path for path in (self.folder, self.split) if not path.is_dir()), None)

    def refuse_absence(self, name: str) -> None:
        """Raise DataError where a folder of the copy of the task `name` is missing."""
        if self.absent is not None:
            raise DataError(
                f"{name}: not prepared: {self.absent} is not there."
                f" Run: rankstone data prepare {name}"
            )

    def counts(self) -> Counts:
        """Return the stored counts; None for parts that are not stored."""
        if self.meta is None:
            return Counts()
        documents = int(self.meta["corpus"]["count"])
        if self.split_meta is None:
            return Counts(documents=documents)
        parts = ("queries",) if self.by_answers else ("queries", "judgements")
        sizes = {name: len(MappedTable(self.split / f"{name}.arrow")) for name in parts}
        return Counts(documents=documents, **sizes)


def find_copy(task: TaskSpec, sources: Sources) -> Copy:
    """Return the state of the converted copy of `task`.

    Raises:
        DataError, DefinitionError: as for `rankstone.benchmarks.store.find_raw`.
    """
    raw = find_raw(task, sources)
    folder = copy_folder(task, raw, sources)
    split = own_folder(folder, task)
    return Copy(
        folder=folder,
        split=split,
        meta=read_meta(folder),
        split_meta=read_meta(split),
        source=raw.source,
        by_answers=task.judge == "answers",
    )


def check_whole(copy: Copy) -> None:
    """Refuse faults that opening would correct silently by converting again; read no content.

    Raises:
        DataError: a file of the copy is missing, has another size, or cannot be opened.
    """
    for folder, meta in ((copy.folder, copy.meta), (copy.split, copy.split_meta)):
        if meta is None:
            raise DataError(
                f"{folder}: damaged: meta.json, or a file that it lists, is missing or has another "
                "size than when it was written. Delete the folder and prepare again."
            )
        for name in meta["files"]:
            if name.endswith(".arrow"):
                MappedTable(folder / name)


def verify_copy(copy: Copy, task: TaskSpec, sources: Sources) -> dict[str, str]:
    """Read all of the copy and return the digests of corpus, queries and judgements.

    Raises:
        DataError: anything is not as it was written, or not as `task` pins it.
    """
    check_whole(copy)
    try:
        for path in (*copy.folder.glob("*.arrow"), *copy.split.glob("*.arrow")):
            _validate(path)
        _check_positions(copy)
        return verify_dataset(task, sources)
    except (pa.ArrowException, OSError, LookupError, ValueError) as error:
        # A flipped bit in its own structures makes Arrow raise any of these.
        raise DataError(
            f"{copy.folder}: damaged: {error}. Delete the folder and prepare again."
        ) from error


def _validate(path: Path) -> None:
    """Check offsets and UTF-8: Arrow reads beyond its buffer at a wrong offset."""
    with pa.memory_map(str(path)) as file:
        reader = pa.ipc.open_file(file)
        for number in range(reader.num_record_batches):
            reader.get_batch(number).validate(full=True)


def _check_positions(copy: Copy) -> None:
    """Check that ids, which are digested, and positions, which are measured, agree."""
    documents, queries = (
        MappedTable(copy.folder / f"{name}.arrow") for name in ("corpus", "queries")
    )
    judged, judgements = (
        MappedTable(copy.split / f"{name}.arrow") for name in ("queries", "judgements")
    )
    n = len(judgements)
    columns = (
        (queries, judgements.integers("query"), judgements.rows("query_id", 0, n)),
        (documents, judgements.integers("document"), judgements.rows("document_id", 0, n)),
        (documents, judged.integers("self_position"), queries.take("id", judged.integers("row"))),
    )
    for table, positions, ids in columns:
        encoded = pa.array(ids, pa.large_string()).dictionary_encode()
        rows = positions_of(table.column("id"), encoded.dictionary)
        if not np.array_equal(rows[encoded.indices.to_numpy()], positions):
            raise DataError(
                f"{copy.split}: damaged: a position and the id beside it are not of one row. "
                "Delete the folder and prepare again."
            )
