"""Records chosen by name, to be deleted."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from rankstone.errors import ResultsError, did_you_mean
from rankstone.results.store import ResultStore, Stored


def chosen_files(store: ResultStore, names: Sequence[str], *, failed: bool = False) -> list[Path]:
    """Return the files of the records `names` of `store`, or of all.

    Args:
        names: Methods, METHOD@TASK, or files, which need not hold a valid record.
        failed: Only failures.

    Raises:
        ResultsError: A name has no record.
    """
    stored = store.stored()
    chosen = dict[Path, None]()
    for name in names or ("",):
        is_file = name and os.path.lexists(name) and not Path(name).is_dir()
        found = [Path(name)] if is_file else _named(name, stored, store)
        chosen |= dict.fromkeys(found)
    good = {path for record, path in stored if record.status == "ok"} if failed else set()
    return [path for path in chosen if path not in good]


def _named(name: str, stored: Sequence[Stored], store: ResultStore) -> list[Path]:
    found = [
        path
        for record, path in stored
        if name == "" or _is(name, record.method.name, record.task.name)
    ]
    if name and not found:
        known = [record.method.name for record, _ in stored]
        raise ResultsError(
            f"no record of '{name}' in {store.folder}.{did_you_mean(name, known)}"
            " Name a method, METHOD@TASK, or a file. (rankstone records ls)"
        )
    return found


def _is(name: str, method: str, task: str) -> bool:
    """Test a method or METHOD@TASK, in full or without its first parts."""
    full = f"{method}@{task}" if "@" in name else method
    return f"/{full}".endswith(f"/{name}")
