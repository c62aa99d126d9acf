"""Encoded corpora and texts saved with an index, read by position; lazily transformed corpora."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rankstone.runners.representations.base import UNPACK, concatenate, pack, take
from rankstone.text_files import Strings

MAPPED_BYTES = 4096
"""Files up to this size are read instead of mapped; an empty file cannot be mapped."""
TEXT = "utf-8", "surrogatepass"

Positions = NDArray[np.int64]


class Positional(Protocol):
    """Representations readable by position and in pieces: `Chunks`, `Stored`, `Derived`."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Any]: ...

    def take(self, positions: Positions) -> Any: ...


class Derived:
    """An encoded corpus whose pieces are transformed on each read."""

    def __init__(self, documents: Any, change: Callable[[Any, Positions], Any]) -> None:
        """`change`: function of the representations of some documents, and their positions."""
        self._documents, self._change = documents, change

    def __len__(self) -> int:
        return len(self._documents)

    def __iter__(self) -> Iterator[Any]:
        start = 0
        for piece in self._documents:
            yield self._change(piece, np.arange(start, start + len(piece)))
            start += len(piece)

    def take(self, positions: Positions) -> Any:
        """Return the transformed representations at `positions`, in that order."""
        return self._change(self._documents.take(positions), positions)

    def sample(self, n: int, seed: int) -> Any:
        """Return `n` distinct random documents (all, if there are fewer).

        The sample is drawn by the corpus itself, so `change` must not depend on positions.
        """
        return self._change(self._documents.sample(n, seed), np.empty(0, np.int64))


class Stored:
    """Consecutive pieces of representations in a folder, memory-mapped."""

    def __init__(self, folder: Path) -> None:
        about = json.loads((folder / "pieces.json").read_text())
        self._folder = folder
        self._starts = np.array(about["starts"], dtype=np.int64)
        self._kind = about["kind"]

    @staticmethod
    def write(folder: Path, pieces: Iterable[Any]) -> None:
        """Write `pieces` into the existing, empty `folder`, one at a time."""
        starts, kind = [0], ""
        for number, piece in enumerate(pieces):
            packed = pack(piece)
            kind = packed.kind
            starts.append(starts[-1] + len(piece))
            for name, array in packed.arrays.items():
                np.save(folder / f"{number:06d}.{name}.npy", array)
        (folder / "pieces.json").write_text(json.dumps({"starts": starts, "kind": kind}))

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __iter__(self) -> Iterator[Any]:
        """Map one piece at a time, so that the pages of earlier ones can be released."""
        return map(self._piece, range(len(self._starts) - 1))

    def take(self, positions: Positions) -> Any:
        """Return the representations at `positions`, at least one, in that order."""
        owners = np.searchsorted(self._starts, positions, side="right") - 1
        order = np.argsort(owners, kind="stable")
        found = [
            take(self._pieces[owner], positions[owners == owner] - self._starts[owner])
            for owner in np.unique(owners)
        ]
        return take(concatenate(found), np.argsort(order, kind="stable"))

    @cached_property
    def _pieces(self) -> list[Any]:
        return list(self)

    def _piece(self, number: int) -> Any:
        paths = sorted(self._folder.glob(f"{number:06d}.*.npy"))
        return UNPACK[self._kind]({path.name.split(".")[1]: _array(path) for path in paths})


def _array(path: Path) -> NDArray[Any]:
    mode = "r" if path.stat().st_size > MAPPED_BYTES else None
    array: NDArray[Any] = np.load(path, mmap_mode=mode)  # type: ignore[arg-type]
    return array.view(np.ndarray)


class SavedTexts(Strings):
    """Texts in one file, read by position."""

    def __init__(self, folder: Path) -> None:
        self._ends = np.load(folder / "ends.npy")
        self._bytes: NDArray[np.uint8] = np.empty(0, dtype=np.uint8)
        if len(self._ends) and self._ends[-1]:
            self._bytes = np.memmap(folder / "texts.utf8", np.uint8, "r")

    @staticmethod
    def write(folder: Path, texts: Iterable[str]) -> None:
        """Write the concatenated `texts`, and the offset of each end."""
        with (folder / "texts.utf8").open("wb") as file:
            sizes = [file.write(text.encode(*TEXT)) for text in texts]
        np.save(folder / "ends.npy", np.cumsum(sizes, dtype=np.int64))

    def __len__(self) -> int:
        return len(self._ends)

    def read(self, rows: range) -> list[str]:
        return [self._at(row) for row in rows]

    def _at(self, row: int) -> str:
        start = int(self._ends[row - 1]) if row else 0
        return self._bytes[start : int(self._ends[row])].tobytes().decode(*TEXT)
