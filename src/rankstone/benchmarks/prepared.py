"""The prepared copy of a task's data in the cache: located, counted and verified."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rankstone.benchmarks.conversion import copy_folder, own_folder
from rankstone.benchmarks.dataset import Sources
from rankstone.benchmarks.storage.atomic_folders import changed_file, read_meta
from rankstone.benchmarks.store import find_raw, verify_dataset
from rankstone.errors import DataError
from rankstone.specs import Counts, TaskSpec


@dataclass(frozen=True, kw_only=True)
class Copy:
    """The converted copy of a task's data: its folders and the existing content."""

    folder: Path
    split: Path
    """The folder of the task's split."""
    meta: dict[str, Any] | None
    """`meta.json` of the corpus; None if it is missing or a file has another size."""
    split_meta: dict[str, Any] | None
    """`meta.json` of the split; None likewise."""
    source: str
    """Path or address of the original data."""
    by_answers: bool = False
    """True if the task is judged by answers, so that there are no judgements to count."""

    @property
    def ready(self) -> bool:
        """True if opening the task requires no conversion."""
        return self.meta is not None and self.split_meta is not None

    @property
    def absent(self) -> Path | None:
        """The missing folder; None if both exist, even if damaged."""
        return next((path for path in (self.folder, self.split) if not path.is_dir()), None)

    def refuse_absence(self, name: str) -> None:
        """Raise DataError if a folder of the copy of the task `name` is missing."""
        if self.absent is not None:
            raise DataError(
                f"{name}: not prepared: {self.absent} does not exist."
                f" Run: rankstone data prepare {name}"
            )

    def counts(self) -> Counts:
        """Return the stored counts; None for parts that are not stored."""
        if self.meta is None:
            return Counts()
        documents = int(self.meta["corpus"]["count"])
        if self.split_meta is None:
            return Counts(documents=documents)
        counts = self.split_meta["counts"]
        return Counts(
            documents=documents,
            queries=counts["queries"],
            judgements=None if self.by_answers else counts["judgements"],
        )


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


def check_whole(copy: Copy, *, again: bool = False) -> None:
    """Raise DataError for damage that opening would repair by converting again.

    Args:
        again: also hash files that were verified before and not changed since.

    Raises:
        DataError: a file of the copy is missing or has changed.
    """
    for folder, meta in ((copy.folder, copy.meta), (copy.split, copy.split_meta)):
        if meta is None:
            raise DataError(
                f"{folder}: damaged: meta.json, or a file that it lists, is missing or has another "
                "size than when it was written. Delete the folder and prepare again."
            )
        changed = changed_file(folder, meta, again=again)
        if changed is not None:
            raise DataError(
                f"{changed}: damaged: its content is not as it was written. Delete {folder} and "
                "prepare again."
            )


def verify_copy(copy: Copy, task: TaskSpec, sources: Sources) -> dict[str, str]:
    """Read the whole copy and return the digests of corpus, queries and judgements.

    Raises:
        DataError: the content has changed, or differs from the pins of `task`.
    """
    check_whole(copy, again=True)
    return verify_dataset(task, sources)
