"""What methods that ask a scorer share: checked scores, and texts that lie beside a saved index."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from rankstone.errors import AdapterError, DefinitionError
from rankstone.runners.protocols import Scorer

TEXT = "utf-8", "surrogatepass"
LARGEST = 1e30
"""Scores beyond it would leave no room beneath them in float32."""


def require_scorer(scorer: Any) -> None:
    """Raise DefinitionError where the table `scorer` names something else."""
    if not isinstance(scorer, Scorer):
        raise DefinitionError(
            f"table 'scorer': {type(scorer).__name__} does not score pairs."
            " Name an adapter with the methods of rankstone.runners.protocols.Scorer."
        )


def checked(given: Any, n: int, scorer: Any) -> NDArray[np.float32]:
    """What `scorer` gave for `n` documents; an AdapterError if these are not as many scores."""
    scores: NDArray[np.float32] = np.asarray(given, dtype=np.float32)
    if scores.shape != (n,) or not (np.abs(scores) < LARGEST).all():
        raise AdapterError(
            f"{type(scorer).__name__} gave scores of shape {scores.shape} for {n} documents:"
            f" expected ({n},), all finite and below {LARGEST:g}. The scorer is at fault."
        )
    return scores


class SavedTexts(Sequence[str]):
    """Texts in one file, read by position."""

    def __init__(self, folder: Path) -> None:
        self._ends = np.load(folder / "ends.npy")
        self._bytes: NDArray[np.uint8] = np.empty(0, dtype=np.uint8)
        if len(self._ends) and self._ends[-1]:
            self._bytes = np.memmap(folder / "texts.utf8", np.uint8, "r")

    @staticmethod
    def write(folder: Path, texts: Iterable[str]) -> None:
        """Write `texts`, one after another, and where each ends."""
        with (folder / "texts.utf8").open("wb") as file:
            sizes = [file.write(text.encode(*TEXT)) for text in texts]
        np.save(folder / "ends.npy", np.cumsum(sizes, dtype=np.int64))

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        position = range(len(self))[index]
        start = int(self._ends[position - 1]) if position else 0
        return self._bytes[start : int(self._ends[position])].tobytes().decode(*TEXT)
