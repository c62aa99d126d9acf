"""Indexes as dataclasses: saved, loaded and weighed by their fields."""

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
"""A field of this name belongs to a run: it is not saved, and None in a loaded index."""


class SavedIndex:
    """Base of indexes that are dataclasses of what a search needs.

    A field is an array, a scipy sparse matrix, an object with `save` and `load`, an encoded corpus,
    a list of texts, an adapter or another dataclass of parameters, a tuple of these, or a value of
    JSON. Corpora and texts are read from disk in a loaded index. An adapter is constructed again; a
    ModelError if the files of its model are gone or are others.
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
        """Bytes of arrays and parts; what is read from disk is not counted."""
        return sum(resident_bytes(value) for _, value in self._fields())

    def notes(self) -> list[str]:
        """Return what the indexes inside have to say about their results, for the record."""
        return [note for part in _inside(self) for note in getattr(part, "notes", list)()]

    def _fields(self) -> Iterator[tuple[str, Any]]:
        for field in fields(self):  # type: ignore[arg-type]
            if field.init and field.name != CONTEXT:
                yield field.name, getattr(self, field.name)


def throughout(index: Any, method: str) -> bool:
    """Return True if `index`, and every index inside it, has `method`: those of others may lack
    `save` and `nbytes`."""
    return hasattr(index, method) and all(throughout(part, method) for part in _inside(index))


def _inside(index: Any) -> Iterator[Any]:
    """Yield the indexes among the fields of an index."""
    for _, value in index._fields() if isinstance(index, SavedIndex) else ():
        parts = value if isinstance(value, tuple) else (value,)
        yield from (part for part in parts if hasattr(part, "search"))


def resident_bytes(value: Any) -> int:
    """Bytes of an array, a sparse matrix, a part that states them, or a tuple of these; else 0."""
    if isinstance(value, tuple):
        return sum(map(resident_bytes, value))
    if hasattr(value, "indptr"):
        return int(value.data.nbytes + value.indices.nbytes + value.indptr.nbytes)
    nbytes = getattr(value, "nbytes", 0)
    return int((nbytes() if callable(nbytes) else nbytes) or 0)


def _write(value: Any, path: Path) -> Any:
    """Write `value` to `path`, a folder or a file with another suffix; JSON for `_read`."""
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
    """The kind of what is written into a folder, and the function that writes it."""
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
