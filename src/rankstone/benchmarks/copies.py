"""What there is of a task's data in the cache, told without converting any."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rankstone.benchmarks.dataset import Sources
from rankstone.benchmarks.folders import read_meta
from rankstone.benchmarks.store import copy_folder, find_raw, split_folder
from rankstone.benchmarks.tables import MappedTable
from rankstone.errors import DataError
from rankstone.specs import Counts, TaskSpec


@dataclass(frozen=True, kw_only=True)
class Copy:
    """The converted copy of a task's data: where it belongs, and what is there of it."""

    folder: Path
    split: Path
    """The folder of the task's split."""
    meta: dict[str, Any] | None
    """The `meta.json` of the corpus; None where it is not there, or not whole by size."""
    split_meta: dict[str, Any] | None
    """The same of the split."""
    source: str
    """Where the data comes from: a path or an address."""

    @property
    def ready(self) -> bool:
        """Whether opening the task converts nothing."""
        return self.meta is not None and self.split_meta is not None

    @property
    def absent(self) -> Path | None:
        """The folder that is not there; None where both are, whole or not."""
        return next((path for path in (self.folder, self.split) if not path.is_dir()), None)

    def counts(self) -> Counts:
        """What is stored; None of what is not."""
        if self.meta is None:
            return Counts()
        documents = int(self.meta["corpus"]["count"])
        if self.split_meta is None:
            return Counts(documents=documents)
        queries, judgements = (
            len(MappedTable(self.split / f"{name}.arrow")) for name in ("queries", "judgements")
        )
        return Counts(documents=documents, queries=queries, judgements=judgements)


def find_copy(task: TaskSpec, sources: Sources) -> Copy:
    """The converted copy of `task`, wherever it stands.

    Raises:
        DataError, DefinitionError: as for `rankstone.benchmarks.store.find_raw`.
    """
    raw = find_raw(task, sources)
    folder = copy_folder(task, raw, sources)
    split = split_folder(folder, task.split)
    return Copy(
        folder=folder,
        split=split,
        meta=read_meta(folder),
        split_meta=read_meta(split),
        source=raw.source,
    )


def check_whole(copy: Copy) -> None:
    """Refuse what opening would mend in silence, by converting again.

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
