"""Indexes as dataclasses, saved, loaded and measured field by field."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from rankstone.runners.adapter_json import class_of, from_json, name_of, to_json
from rankstone.runners.representations.pieces import SavedTexts, Stored

FILE = "index.json"
CONTEXT = "context"
"""A field of this name is not saved, and is None in a loaded index."""


class SavedIndex:
    """Base of indexes that are dataclasses.

    A field is an array, a scipy sparse matrix, an object with `save` and `load`, an encoded corpus,
    a list of texts, an adapter or another dataclass of parameters, a tuple of these, or a JSON
    value. A loaded index reads corpora and texts from disk. An adapter is constructed again, with a
    ModelError if its model's files are missing or have changed.
    """

    def save(self, folder: Path) -> None:
        """Write every field but `context` into the existing, empty `folder`."""
        written = {name: _write(value, folder / name) for name, value in self._fields()}
        (folder / FILE).write_text(json.dumps(written))

    @classmethod
    def load(cls, folder: Path) -> Self:
        written = json.loads((folder / FILE).read_text())
        return cls(**{name: _read(value, folder / name) for name, value in written.items()})

    def nbytes(self) -> int:
        """Return the bytes of arrays and parts in memory, without data read from disk."""
        return sum(resident_bytes(value) for _, value in self._fields())

    def notes(self) -> list[str]:
        """Return the notes of nested indexes about their results, for the record."""
        return [note for part in _inside(self) for note in getattr(part, "notes", list)()]

    def _fields(self) -> Iterator[tuple[str, Any]]:
        for field in fields(self):  # type: ignore[arg-type]
            if field.init and field.name != CONTEXT:
                yield field.name, getattr(self, field.name)


def throughout(index: Any, method: str) -> bool:
    """Return True if `index` and every nested index have `method`: third-party indexes may lack
    `save` and `nbytes`."""
    return hasattr(index, method) and all(throughout(part, method) for part in _inside(index))


def _inside(index: Any) -> Iterator[Any]:
    """Yield the nested indexes of an index."""
    for _, value in index._fields() if isinstance(index, SavedIndex) else ():
        parts = value if isinstance(value, tuple) else (value,)
        yield from (part for part in parts if hasattr(part, "search"))


def resident_bytes(value: Any) -> int:
    """Return the bytes of an array, sparse matrix, part with `nbytes`, or tuple of these; else
    0."""
    if isinstance(value, tuple):
        return sum(map(resident_bytes, value))
    if hasattr(value, "indptr"):
        return int(value.data.nbytes + value.indices.nbytes + value.indptr.nbytes)
    nbytes = getattr(value, "nbytes", 0)
    return int((nbytes() if callable(nbytes) else nbytes) or 0)


def _write(value: Any, path: Path) -> Any:
    """Write `value` to the folder `path`, or a file with a suffix; return the JSON for `_read`."""
    if isinstance(value, tuple):
        parts = enumerate(value)
        return {"tuple": [_write(part, _numbered(path, number)) for number, part in parts]}
    if isinstance(value, np.ndarray):
        np.save(f"{path}.npy", value)
        return {"array": path.name}
    if hasattr(value, "indptr"):
        from scipy.sparse import save_npz

        save_npz(f"{path}.npz", value, compressed=False)
        return {"sparse": path.name}
    if writer := _writer(value):
        path.mkdir()
        writer[1](path)
        return {writer[0]: name_of(type(value))}
    return {"value": to_json(value)} if is_dataclass(value) else value


def _writer(value: Any) -> tuple[str, Callable[[Path], None]] | None:
    """Return the kind of a value saved as a folder, and the function that writes it."""
    if hasattr(value, "save"):
        return "part", value.save
    if hasattr(value, "take"):
        return "corpus", lambda path: Stored.write(path, value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "texts", lambda path: SavedTexts.write(path, value)
    return None


def _read(written: Any, path: Path) -> Any:
    if not isinstance(written, dict):
        return written
    ((kind, about),) = written.items()
    if kind == "tuple":
        return tuple(_read(part, _numbered(path, number)) for number, part in enumerate(about))
    return _READERS[kind](about, path)


def _sparse(_: str, path: Path) -> Any:
    from scipy.sparse import load_npz

    return load_npz(f"{path}.npz")


_READERS: dict[str, Callable[[Any, Path], Any]] = {
    "array": lambda _, path: np.load(f"{path}.npy"),
    "sparse": _sparse,
    "part": lambda kind, path: class_of(kind).load(path),
    "corpus": lambda _, path: Stored(path),
    "texts": lambda _, path: SavedTexts(path),
    "value": lambda adapter, _: from_json(adapter),
}


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")
