"""Checks and sizes of the return values of adapters; errors state the expected type."""

from __future__ import annotations

import warnings
from collections.abc import Sized
from pathlib import Path
from typing import Any

import numpy as np

from rankstone.benchmarks.dataset import Dataset
from rankstone.errors import AdapterError
from rankstone.results.record import Filter, IndexSize
from rankstone.runners.protocols import AnyIndex, Hits
from rankstone.runners.saved import throughout
from rankstone.runners.search.filtered import FilteredSearch


def one_each(representations: Any, n: int, method: str) -> Any:
    """Return `representations`; AdapterError unless there is one for each of `n` texts."""
    if isinstance(representations, Sized) and len(representations) == n:
        return representations
    found = type(representations).__name__
    if isinstance(representations, Sized):
        found += f" of length {len(representations)}"
    raise AdapterError(
        f"{method}: encode returned {found} for {n} texts; expected one representation of each,"
        " such as the rows of an array."
    )


def index_of(index: Any, method: str) -> AnyIndex:
    """Return `index`; AdapterError if it cannot search."""
    if callable(getattr(index, "search", None)):
        found: AnyIndex = index
        return found
    raise AdapterError(
        f"{method}: index returned {type(index).__name__}; expected an object with a method"
        " search(queries, k) that returns rankstone.Hits."
    )


def hits_of(hits: Any, method: str) -> Hits:
    """Return `hits`; AdapterError if they have the wrong type."""
    if isinstance(hits, Hits):
        return hits
    raise AdapterError(
        f"{method}: search returned {type(hits).__name__}; expected rankstone.Hits(docs, scores):"
        " int64 positions in the corpus and float32 scores, both of shape (queries, k)."
    )


def notes_of(index: Any) -> list[str]:
    """Return an index's remarks about its results (`notes`), for the record."""
    notes = getattr(index, "notes", None)
    return [str(note) for note in notes()] if callable(notes) else []


def index_size(index: AnyIndex, n_documents: int, folder: Path) -> IndexSize:
    """Return the sizes of an index; unknown if a part has no `nbytes` or no `save`.

    Args:
        folder: folder in which it is saved to measure its size.
    """
    size = _bytes(index.nbytes(), "nbytes") if throughout(index, "nbytes") else None
    return IndexSize(
        memory_bytes=size,
        disk_bytes=_disk_bytes(index, folder),
        bytes_per_document=None if size is None else size / n_documents,
    )


def _disk_bytes(index: AnyIndex, folder: Path) -> int | None:
    """Return the bytes on disk that the index itself states, or those of its files."""
    if hasattr(index, "disk_bytes"):
        return _bytes(index.disk_bytes(), "disk_bytes")
    return _saved_bytes(index, folder) if throughout(index, "save") else None


def _bytes(value: Any, name: str) -> int | None:
    """Return a size that an index states; AdapterError if it is not one."""
    if value is None:
        return None
    if isinstance(value, int | float | np.integer | np.floating) and 0 <= value < 2**63:
        return int(value)
    raise AdapterError(
        f"{name}() of the index returned {value!r:.60}; expected a number of bytes, or None."
    )


def _saved_bytes(index: AnyIndex, folder: Path) -> int | None:
    """Save the index to measure its size; it stays unknown if the disk is too small."""
    folder.mkdir()
    try:
        index.save(folder)
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    except OSError as error:
        warnings.warn(f"the index could not be saved to measure its size: {error}", stacklevel=1)
        return None


def filter_section(dataset: Dataset, index: AnyIndex) -> Filter | None:
    """Return how `index` searches under the filters of the task, if it has any."""
    filters, task = dataset.filters, dataset.task
    if filters is None:
        return None
    judged, shares = dataset.judgements, filters.shares
    relevant = np.unique(judged.query[judged.label >= task.relevance])
    return Filter(
        how=FilteredSearch(index, filters.wheres).how,
        predicate=task.filter if isinstance(task.filter, str) else None,
        selectivity=float(np.mean(shares)),
        least=min(shares),
        most=max(shares),
        not_asked=filters.n_unjudged,
        without_relevant=0 if dataset.answers else len(shares) - len(relevant),
    )
