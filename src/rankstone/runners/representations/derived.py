"""Vectors made from an encoded corpus piece by piece, while it is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rankstone.errors import DefinitionError
from rankstone.runners.representations.pieces import Positional
from rankstone.runners.search.exact.flat import Mapped

Vectors = NDArray[np.float32]
Positions = NDArray[np.int64]


class Derived:
    """An encoded corpus, each piece of which is changed as it is read; nothing is kept."""

    def __init__(self, documents: Positional, change: Callable[[Any, Positions], Vectors]) -> None:
        """`change`: from the representations of some documents, and their positions."""
        self._documents, self._change = documents, change

    def __len__(self) -> int:
        return len(self._documents)

    def __iter__(self) -> Iterator[Vectors]:
        start = 0
        for piece in self._documents:
            yield self._change(piece, np.arange(start, start + len(piece)))
            start += len(piece)

    def take(self, positions: Positions) -> Vectors:
        return self._change(self._documents.take(positions), positions)


def written(pieces: Iterable[Vectors], dim: int, work: Path) -> Mapped:
    """Vectors that are too dear to be made twice, in a file below `work`."""
    path = Path(mkdtemp(dir=work)) / "vectors.f32"
    rows = 0
    with path.open("wb") as file:
        for piece in pieces:
            file.write(np.ascontiguousarray(piece, dtype=np.float32).data)
            rows += len(piece)
    return Mapped(path, rows, dim)


def dense(rep: Any) -> Vectors:
    """`rep`, which must be (n, dim) vectors; a DefinitionError if the member makes other things."""
    if isinstance(rep, np.ndarray) and rep.ndim == 2:
        return rep.astype(np.float32, copy=False)
    raise DefinitionError(
        f"key 'members': this needs one vector per text, and the member makes {type(rep).__name__}."
        " Name a dense method."
    )
