"""Recurrent binarisation: float vectors to codes with few bits per dimension."""

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
"""Vectors per batch of the networks."""
DOUBT = 1e-5
"""Values closer to zero than this, for vectors of mean square 1, are recomputed in float64."""


@dataclass(frozen=True, eq=False)
class Binariser(SavedIndex):
    """Maps a vector x in R^d to a code in R^m with 1 + u bits per dimension, for u loops.

    With x of mean square 1: b_0 = sign(W(x)); then for i = 1 ... u the residual of the code so
    far, b_i = b_(i-1) + 2^-i sign(R_i(x - f)) with f = B_i(b_(i-1)), scaled to mean
    square 1 (Gan et al., KDD 2023, arXiv:2302.08714; there, both have length 1). The sign of zero
    is minus.

    Without loops this is a binary hash, for which W may also be a rotation or thresholds only.

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
        """Return the (n, words, levels) codes of (n, d) vectors, which do not depend on the batch.

        Raises AdapterError for NaN or infinite values, or vectors of a different dimension.
        """
        check(vectors, self.first.inputs)
        planes = self.planes
        codes = np.empty((len(vectors), planes.words, planes.levels), dtype=np.uint64)
        for start in range(0, len(vectors), ROWS):
            x = scaled(np.asarray(vectors[start : start + ROWS], dtype=np.float32))
            signs, nearest = self._signs(x)
            # Rounding of a matrix product depends on its shape, and could flip these signs.
            doubtful = nearest < DOUBT
            if doubtful.any():
                signs[doubtful], _ = self._signs(x[doubtful].astype(np.float64))
            codes[start : start + len(x)] = planes.pack(signs)
        return codes

    def _signs(self, x: Any) -> tuple[Signs, NDArray[Any]]:
        """Return (n, u + 1, m) signs, True for plus, and the (n,) values closest to zero in a
        row."""
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
    """Symmetric search: both documents and queries are binarised.

    Scores, ties and costs are those of `CodeIndex`.
    """

    binariser: Binariser
    codes: CodeIndex

    @classmethod
    def build(
        cls, binariser: Binariser, documents: Iterator[Vectors], threads: int = 1
    ) -> BinarisedIndex:
        """Index vectors in consecutive pieces, one of which is in memory at a time."""
        codes = CodeIndex.build(binariser.planes, map(binariser, documents), threads)
        return cls(binariser, codes)

    def search(self, queries: Vectors, k: int) -> Hits:
        return self.codes.search(self.binariser(queries), k)


def scaled(vectors: Any) -> Any:
    """Return (n, d) vectors scaled to mean square 1, in their own precision; zero stays zero."""
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
