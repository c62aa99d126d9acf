"""Recurrent binarisation: float vectors to codes of few bits per dimension."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rankstone.errors import AdapterError
from rankstone.runners.protocols import Hits
from rankstone.runners.saved import SavedIndex
from rankstone.runners.search.binary.bit_planes import BitPlanes, Codes, Vectors
from rankstone.runners.search.binary.code_index import CodeIndex
from rankstone.runners.search.binary.layers import Layers
from rankstone.runners.search.exact.flat import is_finite

Signs = NDArray[np.bool_]
ROWS = 4096
"""Vectors that go through the networks at once."""
DOUBT = 1e-5
"""Values nearer to zero than this, where vectors have mean square 1, are computed in double."""


@dataclass(frozen=True, eq=False)
class Binariser(SavedIndex):
    """Maps a vector x in R^d to a code in R^m with one bit per dimension and loop, and one more.

    With x of mean square 1: b_0 = sign(W(x)); then for i = 1 ... u the residual that the code so
    far leaves, b_i = b_(i-1) + 2^-i sign(R_i(x - f)) with f = B_i(b_(i-1)), scaled to mean
    square 1 (Gan et al., KDD 2023, arXiv:2302.08714; there, both have length 1). The sign of zero
    is minus.

    Without loops this is a binary hash, of which W may as well be a rotation or only thresholds.

    Attributes:
        first: W, from d to m.
        loops: (B_i, R_i), from m to d and from d to m.
    """

    first: Layers
    loops: tuple[tuple[Layers, Layers], ...] = ()

    @property
    def planes(self) -> BitPlanes:
        return BitPlanes(self.first.outputs, 1 + len(self.loops))

    def __call__(self, vectors: Vectors) -> Codes:
        """(n, words, levels) codes of (n, d) vectors, the same whatever shares a batch.

        Raises AdapterError for NaN or infinite values, or vectors of another dimension.
        """
        check(vectors, self.first.inputs)
        planes = self.planes
        codes = np.empty((len(vectors), planes.words, planes.levels), dtype=np.uint64)
        for start in range(0, len(vectors), ROWS):
            x = scaled(np.asarray(vectors[start : start + ROWS], dtype=np.float32))
            signs, nearest = self._signs(x)
            # The last bits of a matrix product depend on its shape, and could turn these signs.
            doubtful = nearest < DOUBT
            if doubtful.any():
                signs[doubtful], _ = self._signs(x[doubtful].astype(np.float64))
            codes[start : start + len(x)] = planes.pack(signs)
        return codes

    def _signs(self, x: Any) -> tuple[Signs, NDArray[Any]]:
        """(n, u + 1, m) whether signs are plus, and (n,) the value nearest to zero of each row."""
        values = self.first(x)
        signs, nearest = [values > 0], np.abs(values).min(axis=1)
        code = np.where(signs[0], x.dtype.type(1), x.dtype.type(-1))
        for i, (back, residual) in enumerate(self.loops, start=1):
            values = residual(x - scaled(back(code)))
            signs.append(values > 0)
            nearest = np.minimum(nearest, np.abs(values).min(axis=1))
            code += np.where(signs[-1], 1, -1) * x.dtype.type(0.5**i)
        return np.stack(signs, axis=1), nearest

    def networks(self) -> Iterator[Layers]:
        yield self.first
        for back, residual in self.loops:
            yield from (back, residual)


@dataclass(frozen=True, eq=False)
class BinarisedIndex(SavedIndex):
    """Symmetric search: documents are kept as codes, and a query is made into one as they are.

    Scores, ties and cost are those of `CodeIndex`.
    """

    binariser: Binariser
    codes: CodeIndex

    @classmethod
    def build(
        cls, binariser: Binariser, documents: Iterator[Vectors], threads: int = 1
    ) -> BinarisedIndex:
        """Index vectors in consecutive pieces, of which only one is held at a time."""
        codes = CodeIndex.build(binariser.planes, map(binariser, documents), threads)
        return cls(binariser, codes)

    def search(self, queries: Vectors, k: int) -> Hits:
        return self.codes.search(self.binariser(queries), k)


def scaled(vectors: Any) -> Any:
    """(n, d) vectors of mean square 1, in their own precision; zero stays zero."""
    lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors) / vectors.shape[1])
    return vectors / np.where(lengths > 0, lengths, 1).astype(vectors.dtype)[:, None]


def check(vectors: Vectors, dim: int) -> None:
    """Raise AdapterError unless `vectors` are finite, of shape (n, dim)."""
    if vectors.ndim != 2 or vectors.shape[1] != dim:
        raise AdapterError(
            f"expected vectors (n, {dim}), found shape {vectors.shape}. The encoder must give"
            " queries and documents the same dimension."
        )
    if not is_finite(vectors):
        bad = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
        raise AdapterError(
            f"vector {bad} of {len(vectors)} holds NaN or infinite values: the encoder is at fault."
        )
