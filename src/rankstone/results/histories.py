"""Folders that contain several stores of records, such as one per commit."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from rankstone.errors import ResultsError
from rankstone.files import PathLike
from rankstone.results.store import ResultStore, Stored


def stores_below(folder: Path) -> list[Path]:
    """Return the folders of records at or below `folder`, each a separate store."""
    whole, found = ResultStore(folder), set[Path]()
    for path in sorted(folder.rglob("*@*.json")):
        with contextlib.suppress(ResultsError):
            found.add(whole.folder_of(whole.load(path), path))
    return sorted(found)


def stored_below(folders: PathLike | Iterable[PathLike]) -> list[Stored]:
    """Return the records of all stores at or below `folders`.

    Raises:
        ResultsError: a folder does not exist, or contains no records.
    """
    found = []
    for given in [folders] if isinstance(folders, str | os.PathLike) else folders:
        folder = Path(given).expanduser()
        stores = stores_below(folder)
        if not stores:
            raise ResultsError(
                f"{folder}: no folder of records. Write some: rankstone run METHOD --on TASK"
                f" --results {folder}/NAME"
            )
        found += [stored for store in stores for stored in ResultStore(store).stored()]
    return found


def refuse_several_stores(folder: Path) -> None:
    """Raise ResultsError if `folder` contains folders of records but no records itself."""
    stores = [store for store in stores_below(folder) if store != folder]
    if stores:
        names = ", ".join(map(str, stores[:8])) + (" ..." if len(stores) > 8 else "")
        raise ResultsError(
            f"{folder}: holds no records; these folders of records lie inside it: {names}."
            " Name one: --results FOLDER. Trends over all of them: rankstone site --history"
            f" {folder}"
        )
