"""Sparse vectors over a vocabulary: the representation of learned sparse retrieval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from rankstone.errors import AdapterError
from rankstone.runners.representations.base import (
    UNPACK,
    Packed,
    join,
    offsets_of,
    pack,
    rows_of_runs,
    take,
)

Weights = NDArray[np.float32]
Terms = NDArray[np.int32]
Row = tuple[NDArray[np.integer[Any]], NDArray[np.floating[Any]]]
"""Ascending terms of one text, and their weights."""


@dataclass(frozen=True, eq=False)
class SparseRows:
    """Sparse vectors of texts, concatenated text by text.

    Attributes:
        weights: (n_entries,) float32.
        terms: (n_entries,) int32 positions in the vocabulary, ascending within a text.
        offsets: (n_texts + 1,) int64; text i has the entries ``offsets[i]:offsets[i + 1]``.
        width: size of the vocabulary.
    """

    weights: Weights
    terms: Terms
    offsets: NDArray[np.int64]
    width: int

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, part: slice) -> SparseRows: ...
    @overload
    def __getitem__(self, part: int) -> Weights: ...
    def __getitem__(self, part: slice | int) -> SparseRows | Weights:
        """Return consecutive texts without copying entries, or the dense vector of one text."""
        if not isinstance(part, slice):
            whole = np.zeros(self.width, dtype=np.float32)
            row = range(len(self))[part]
            entries = slice(self.offsets[row], self.offsets[row + 1])
            whole[self.terms[entries]] = self.weights[entries]
            return whole
        start, stop, step = part.indices(len(self))
        if step != 1:
            positions = np.array(range(start, stop, step), dtype=np.int64)
            return take(self, positions)  # type: ignore[no-any-return]
        offsets = self.offsets[start : max(start, stop) + 1]
        entries = slice(offsets[0], offsets[-1])
        return SparseRows(
            self.weights[entries], self.terms[entries], offsets - offsets[0], self.width
        )

    def __matmul__(self, vector: Weights) -> Weights:
        """Return (n_texts,) inner products with one dense vector."""
        products: Weights = self.matrix() @ np.asarray(vector, dtype=np.float32)
        return products

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(n_texts,) number of non-zero entries of each text."""
        return np.diff(self.offsets)

    def rows(self) -> list[Row]:
        """Return the terms and weights of each text."""
        ends = self.offsets[1:-1]
        if not len(self):
            return []
        return list(zip(np.split(self.terms, ends), np.split(self.weights, ends), strict=True))

    def matrix(self) -> Any:
        """Return an (n_texts, width) ``scipy.sparse.csr_array``."""
        from scipy.sparse import csr_array

        parts = (self.weights, self.terms, narrowed(self.offsets))
        return csr_array(parts, shape=(len(self), self.width))


def sparse_rows(rows: Sequence[Row], width: int) -> SparseRows:
    """Return the representation of texts with these terms and weights."""
    lengths = np.array([len(terms) for terms, _ in rows], dtype=np.int64)
    terms = np.concatenate([np.empty(0, np.int32), *(terms for terms, _ in rows)])
    weights = np.concatenate([np.empty(0, np.float32), *(weights for _, weights in rows)])
    return SparseRows(
        weights.astype(np.float32), terms.astype(np.int32), offsets_of(lengths), width
    )


def narrowed(offsets: NDArray[np.int64]) -> NDArray[np.integer[Any]]:
    """Return `offsets` in 32 bits if they fit: scipy widens both of its index arrays to the larger
    type."""
    fits = not len(offsets) or offsets[-1] <= np.iinfo(np.int32).max
    return offsets.astype(np.int32) if fits else offsets


@take.register
def _(rep: SparseRows, positions: NDArray[np.int64]) -> SparseRows:
    offsets = offsets_of(rep.lengths[positions])
    entries = rows_of_runs(rep.offsets[:-1][positions], np.diff(offsets))
    return SparseRows(rep.weights[entries], rep.terms[entries], offsets, rep.width)


@join.register
def _(first: SparseRows, reps: Sequence[SparseRows]) -> SparseRows:
    if any(rep.width != first.width for rep in reps):
        widths = sorted({rep.width for rep in reps})
        raise AdapterError(f"sparse vectors over vocabularies of {widths} entries do not join.")
    return SparseRows(
        np.concatenate([rep.weights for rep in reps]),
        np.concatenate([rep.terms for rep in reps]),
        offsets_of(np.concatenate([rep.lengths for rep in reps])),
        first.width,
    )


@pack.register
def _(rep: SparseRows) -> Packed:
    arrays: dict[str, NDArray[Any]] = {
        "weights": rep.weights,
        "terms": rep.terms,
        "offsets": rep.offsets,
        "width": np.array([rep.width], dtype=np.int64),
    }
    return Packed("sparse rows", arrays)


def _unpacked(arrays: Any) -> SparseRows:
    return SparseRows(
        arrays["weights"], arrays["terms"], arrays["offsets"], int(arrays["width"][0])
    )


UNPACK["sparse rows"] = _unpacked
