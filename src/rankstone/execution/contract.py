"""Checks of what an adapter returns: another type is named with what was expected."""

from __future__ import annotations

from collections.abc import Sized
from typing import Any

from rankstone.errors import AdapterError
from rankstone.runners.protocols import AnyIndex, Hits


def one_each(representations: Any, n: int, method: str) -> Any:
    """Return `representations`; AdapterError where they are not one for each of `n` texts."""
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
    """Return `index`; AdapterError where it cannot search."""
    if callable(getattr(index, "search", None)):
        found: AnyIndex = index
        return found
    raise AdapterError(
        f"{method}: index returned {type(index).__name__}; expected an object with a method"
        " search(queries, k) that returns rankstone.Hits."
    )


def hits_of(hits: Any, method: str) -> Hits:
    """Return `hits`; AdapterError where they are none."""
    if isinstance(hits, Hits):
        return hits
    raise AdapterError(
        f"{method}: search returned {type(hits).__name__}; expected rankstone.Hits(docs, scores):"
        " int64 positions in the corpus and float32 scores, both of shape (queries, k)."
    )


def notes_of(index: Any) -> list[str]:
    """Return what an index has to say about its results (`notes`), for the record."""
    notes = getattr(index, "notes", None)
    return [str(note) for note in notes()] if callable(notes) else []
