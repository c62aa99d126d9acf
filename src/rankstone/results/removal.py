"""Selection by name of records to be deleted or labelled."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from rankstone.errors import ResultsError, did_you_mean
from rankstone.results.store import ResultStore, Stored
from rankstone.strict import named_among


def chosen_files(store: ResultStore, names: Sequence[str], *, failed: bool = False) -> list[Path]:
    """Return the files of the records `names` in `store`, or of all records.

    Args:
        names: methods, METHOD@TASK, or files, which may contain an invalid record.
        failed: only failures.

    Raises:
        ResultsError: a name has no record.
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
    """Return the files of the records of a method, or METHOD@TASK; of all if `name` is empty."""
    by_name = dict[str, list[Path]]()
    for record, path in stored:
        key = f"{record.method.name}@{record.task.name}" if "@" in name else record.method.name
        by_name.setdefault(key, []).append(path)
    found = named_among(name, by_name) if name else list(by_name)
    methods = sorted({key.partition("@")[0] for key in found})
    if name and not found:
        raise ResultsError(
            f"no record of '{name}' in {store.folder}.{did_you_mean(name, by_name)}"
            " Name a method, METHOD@TASK, or a file. (rankstone records ls)"
        )
    by_digest = found and not f"/{found[0]}".endswith(f"/{name}")
    if name and by_digest and len(methods) > 1:
        raise ResultsError(f"'{name}' is ambiguous: {', '.join(methods)}. Name one in full.")
    return [path for key in found for path in by_name[key]]
