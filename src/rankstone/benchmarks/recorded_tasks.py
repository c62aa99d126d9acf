"""Tasks without a definition, made again from what a record states."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from rankstone.benchmarks.task_names import (
    FILE_TASKS,
    FILES,
    HUB,
    IRDS,
    NEEDED,
    OWN,
    UNDEFINED,
    file_task,
    hub_parts,
    hub_task,
    named_by_user,
    task_of,
    trio_parts,
)
from rankstone.errors import DefinitionError, RankstoneError
from rankstone.specs import TaskSpec


def recorded_task(
    name: str, source: str, split: str, *, relevance: int = 1, digest: str | None = None
) -> TaskSpec | None:
    """Return the task of a record; None if its name is that of a definition.

    Files that are missing at their path, or have changed, are also looked up below the current
    folder under the last parts of their paths, where another checkout or machine may have them.

    Args:
        digest: digest of the task; it confirms a user-defined name, and a hub task without a
            request to the hub.

    Raises: as `task_of`, if there are no such files.
    """
    whole, *cuts = name.split("@")
    if not f"{whole}/".startswith(UNDEFINED):
        return None
    if (named := _without_the_hub(whole, source, split, cuts, digest)) is not None:
        return named
    first: TaskSpec | None = None
    for moved in _moved(source):
        try:
            task = _task(whole, moved, split, relevance).cut(cuts)
        except RankstoneError:
            if moved == source and not _is_files(source):
                raise
            continue
        first = first or task
        if task.name == name and digest in (None, task.digest()):
            return task
    return first or _task(whole, source, split, relevance)


def _task(whole: str, source: str, split: str, relevance: int) -> TaskSpec:
    if whole.startswith(FILE_TASKS):
        return file_task(Path(source), relevance=relevance)
    task = task_of(_form(source, split))
    if task is None:
        raise DefinitionError(f"'{source}' names no data.")
    return _renamed(task, whole)


def _renamed(task: TaskSpec, whole: str) -> TaskSpec:
    return named_by_user(task, whole.removeprefix(OWN)) if whole.startswith(OWN) else task


def _without_the_hub(
    whole: str, source: str, split: str, cuts: list[str], digest: str | None
) -> TaskSpec | None:
    """Return the task of a hub data set if it has the digest, else None."""
    if not source.startswith(HUB):
        return None
    identifier, commit, stated = hub_parts(source.removeprefix(HUB), source)
    for train in (None, "train"):
        task = hub_task(identifier, commit, stated.get("lang"), split, train)
        if (found := _renamed(task, whole).cut(cuts)).digest() == digest:
            return found
    return None


def _form(source: str, split: str) -> str:
    """Return the form of a task name that describes the data of a record."""
    if not _is_files(source):
        identifier = source.removeprefix("ir_datasets:")
        if identifier != source:
            return f"{IRDS}{identifier}"
        return f"{source}{',' if '#' in source else '#'}split={split}"
    return source if source.startswith(FILES) else f"{FILES}{source}#{split}"


def _is_files(source: str) -> bool:
    return not source.startswith(("ir_datasets:", HUB))


def _moved(source: str) -> Iterator[str]:
    """Yield `source`, then `source` with its paths moved below the current folder."""
    yield source
    if not _is_files(source):
        return
    trio = trio_parts(source.removeprefix(FILES)) if source.startswith(FILES) else ()
    paths = [value for key, _, value in trio if key in NEEDED] or [source]
    root = Path(os.path.commonpath([Path(path).parent for path in paths]))
    for n in range(1, len(root.parts) + 1):
        there = Path.cwd().joinpath(*root.parts[n:])
        if len(root.parts) > 1 and there != root:
            yield source.replace(str(root), str(there))
