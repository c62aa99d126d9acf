"""An encoded corpus beside a saved index, for what searching reads from disk by position."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rankstone.runners.representations.base import UNPACK, concatenate, pack, take

MAPPED_BYTES = 4096
"""Files up to this size are read: an empty one cannot be mapped."""


class Positional(Protocol):
    """What gives representations by position, and all of them in pieces: `Chunks`, `Stored`."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Any]: ...

    def take(self, positions: NDArray[np.int64]) -> Any: ...


class Stored:
    """Consecutive pieces of representations in a folder, memory-mapped."""

    def __init__(self, folder: Path) -> None:
        about = json.loads((folder / "pieces.json").read_text())
        self._starts = np.array(about["starts"], dtype=np.int64)
        self._kind = about["kind"]
        self._pieces = [
            UNPACK[self._kind](_arrays(folder, number)) for number in range(len(self._starts) - 1)
        ]

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
        return iter(self._pieces)

    def take(self, positions: NDArray[np.int64]) -> Any:
        """The representations at `positions`, at least one, in that order."""
        owners = np.searchsorted(self._starts, positions, side="right") - 1
        order = np.argsort(owners, kind="stable")
        found = [
            take(self._pieces[owner], positions[owners == owner] - self._starts[owner])
            for owner in np.unique(owners)
        ]
        return take(concatenate(found), np.argsort(order, kind="stable"))


def _arrays(folder: Path, number: int) -> dict[str, NDArray[Any]]:
    arrays = {}
    for path in sorted(folder.glob(f"{number:06d}.*.npy")):
        mode = "r" if path.stat().st_size > MAPPED_BYTES else None
        array: NDArray[Any] = np.load(path, mmap_mode=mode)  # type: ignore[arg-type]
        arrays[path.name.split(".")[1]] = array.view(np.ndarray)
    return arrays
