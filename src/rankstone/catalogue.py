"""Definitions, data and the cache: the methods and tasks that can be run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rankstone.benchmarks.dataset import Sources
from rankstone.errors import DataError, DefinitionError
from rankstone.files import PathLike
from rankstone.progress import Progress, silent
from rankstone.specs import MethodSpec, TaskSpec
from rankstone.strict import chosen
from rankstone.workspace import Methods, Tasks, Workspace, several, write_workspace

if TYPE_CHECKING:
    from rich.console import RenderableType

    from rankstone.benchmarks.availability import Entry
    from rankstone.benchmarks.dataset import Dataset
    from rankstone.benchmarks.prepared import Copy
    from rankstone.benchmarks.stats import Statistics
    from rankstone.encodings.inventory import Entry as Encoding
    from rankstone.leaderboards.board_spec import TableSpec
    from rankstone.leaderboards.papers.published import Published
    from rankstone.results.record import RunRecord
    from rankstone.runners.protocols import Hits


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """Folders of a session, and the commands that only list or prepare."""

    workspace: PathLike | None = None
    """Folder whose definitions take precedence over the packaged ones; by default the current
    folder or its nearest parent with `rankstone.toml`, `runners/` or `benchmarks/`."""
    results: PathLike | None = None
    """Folder of the records; by default `results/` of the workspace."""
    data: PathLike | None = None
    """Local mirror of collections in BEIR layout; by default `RANKSTONE_DATA`."""
    cache: PathLike | None = None
    """Folder of prepared corpora and encodings; by default `RANKSTONE_CACHE`, else the user's
    cache folder."""

    @property
    def definitions(self) -> Workspace:
        """Return the definitions of the workspace, with precedence over the packaged ones.

        Raises: DefinitionError, if `workspace` is not a folder.
        """
        return Workspace.find(Path(self.workspace) if self.workspace is not None else None)

    @property
    def sources(self) -> Sources:
        """Return the folders that are searched for data, or store it."""
        definitions = self.definitions
        data = self.data or os.environ.get("RANKSTONE_DATA") or definitions.folder("data")
        cache = self.cache or os.environ.get("RANKSTONE_CACHE") or definitions.folder("cache")
        return Sources.find(data, cache)

    @property
    def encodings_folder(self) -> Path:
        return self.sources.cache / "encodings"

    @staticmethod
    def init(folder: PathLike = ".") -> list[Path]:
        """Write a commented workspace into `folder`, and return its files.

        Raises: DefinitionError, before anything is written, if one of the files exists.
        """
        return write_workspace(Path(folder))

    def composite(self, adapter: str, members: Methods, **parameters: Any) -> MethodSpec:
        """Return a composite method for `run`.

        Args:
            adapter: the kind of method, such as `reciprocal_rank_fusion` or `weighted_fusion`.
            members: names in any form, specs, or objects.
            parameters: arguments of the adapter, as in a definition's `[parameters]`.

        Raises: RankstoneError, if a member is wrong.
        """
        return self.definitions.composite(adapter, members, parameters)

    def tasks(self, names: Tasks = ()) -> list[TaskSpec]:
        """Return the tasks `names`, with suites expanded, or all defined tasks."""
        definitions = self.definitions
        return definitions.named(names) if names else list(definitions.tasks.values())

    def availability(self, names: Tasks = ()) -> list[Entry]:
        """Return the state of the data of the tasks `names`, or of all."""
        from rankstone.benchmarks.availability import entry

        sources = self.sources
        return [entry(task, sources) for task in self.tasks(names)]

    def prepare(self, task: str | TaskSpec, progress: Progress = silent) -> Dataset:
        """Open the data of a task; it is downloaded and converted first if necessary."""
        from rankstone.benchmarks.store import open_dataset

        return open_dataset(self.definitions.one_task(task), self.sources, progress)

    def prepared(self, task: str | TaskSpec) -> Copy:
        """Return the state of the converted copy of a task's data."""
        from rankstone.benchmarks.prepared import find_copy

        return find_copy(self.definitions.one_task(task), self.sources)

    def verify_data(self, task: TaskSpec) -> dict[str, str]:
        """Compare the prepared data of a task with its pinned counts and digests, and return the
        digests.

        Raises: DataError, if the data differs or is not prepared.
        """
        from rankstone.benchmarks.prepared import verify_copy

        copy = self.prepared(task)
        copy.refuse_absence(task.name)
        return verify_copy(copy, task, self.sources)

    def data_path(self, name: str) -> Path:
        """Return the folder of the prepared copy of a task; DataError if it is not complete."""
        from rankstone.benchmarks.prepared import check_whole

        copy = self.prepared(name)
        copy.refuse_absence(name)
        check_whole(copy)
        return copy.folder

    def statistics(self, name: str, progress: Progress = silent) -> Statistics:
        """Return lengths, labels, duplicates and self hits of a task."""
        dataset = self.prepare(name, progress)
        from rankstone.benchmarks.stats import statistics

        return statistics(dataset)

    def encodings(self, names: Sequence[str] | str = ()) -> list[Encoding]:
        """Return the encodings in the cache: those with these keys, those of methods, or all.

        Raises: DataError, if the named cache is absent, or a name has no encoding.
        """
        from rankstone.encodings.inventory import entries, named

        if self.cache is not None and not self.sources.cache.is_dir():
            raise DataError(f"{self.cache}: no such folder. Name the cache: --cache DIR")
        present = entries(self.encodings_folder)
        return named(present, map(self.definitions.recorded, several(names))) if names else present

    def changed_vectors(self, method: MethodSpec, dataset: Dataset) -> Iterator[tuple[str, Hits]]:
        """Yield results of exact search over a method's stored vectors, unchanged and rounded,
        normalised or truncated, with the name of the change.

        Raises: DataError, if the documents are not in the cache, or have more than one vector each.
        """
        from rankstone.encodings.variants import of_stored_vectors

        return of_stored_vectors(method, dataset, self.sources)

    def published(self, method: str | None = None) -> list[Published]:
        """Return the published values of one method, or of all.

        Raises: DefinitionError, if the method is not defined, or has no published values.
        """
        from rankstone.leaderboards.papers.published import published_of, read_published

        definitions = self.definitions
        files = [layer / "leaderboards" / "published.csv" for layer in definitions.layers]
        rows = [row for file in files if file.is_file() for row in read_published(file)]
        if method is None:
            return rows
        spec = definitions.method(method)
        found = published_of(spec, rows)
        if not found:
            raise DefinitionError(
                f"Method '{spec.name}' has no published values in {definitions.published}."
                " (rankstone list published)"
            )
        return found

    def defined_board(self, name: str) -> tuple[TableSpec, Path | None]:
        """Return the board that `leaderboards/` defines as `name`, and the folder of its records,
        or None for the session's folder.

        Raises: DefinitionError, if the board is not defined.
        """
        from rankstone.leaderboards.board_spec import TableSpec

        definitions = self.definitions
        [spec] = chosen(definitions.load(TableSpec, "leaderboards"), [name], "Leaderboard")
        own = self.results is not None or not spec.records
        holder = definitions.holder(f"leaderboards/{name}.toml")
        return spec, None if own else holder / spec.records

    def convert(self, checkpoint: PathLike, like: PathLike, to: PathLike) -> list[Path]:
        """Split a checkpoint in the format of DPR or AR2 into its two encoders, in folders of `to`.

        Args:
            like: folder of the encoder from which the checkpoint was trained.
        """
        from rankstone.runners.transformer.dpr_checkpoint import convert

        return list(convert(Path(checkpoint), Path(like), Path(to)))

    def doctor(self) -> RenderableType:
        """Return a report of installed extras, available data and runnable methods."""
        from rankstone.doctor import report

        return report(self.definitions, self.sources)

    def task_of(self, record: RunRecord) -> TaskSpec:
        """Return the task of a record, as it is defined today.

        Raises: RankstoneError, if the task is not defined, or its folder has changed.
        """
        task = record.task
        return self.definitions.recorded_task(
            task.name,
            task.source or "",
            task.split,
            relevance=record.policy.relevance,
            digest=task.digest,
        )


def expanded(task: str, definitions: Workspace) -> list[str]:
    """Return the full names of a task, a suite or a form; none if it is not defined. The name of a
    hub data set lacks its commit if the hub cannot be reached."""
    try:
        return [spec.name for spec in definitions.named(task)]
    except DefinitionError:
        return []  # a task that only records name, or a pattern
    except DataError:
        return [definitions.recorded_task_name(task)]
