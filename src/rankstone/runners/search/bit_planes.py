"""Vectors of few bits per dimension, and the exact inner products of two of them.

A code of L bits per dimension is a vector of the grid {±1 ±1/2 ... ±2^-(L-1)}: plane i holds, as
one bit per dimension, the sign of the term 2^-i. This is the form of BEBR's recurrent binarisation
(Gan et al., KDD 2023, arXiv:2302.08714); with L = 1 it is an ordinary binary hash.

In memory, four bits lie together: of 4, 2 or 1 dimensions for L = 1, 2 or more, plane by plane. So
four of them are one code of a product quantiser, whose centroids are all the values that so many
dimensions can have; faiss scans such codes by shuffles in registers (`fast_scan`). L = 3 leaves one
bit of four unused.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint8]
Vectors = NDArray[np.float32]
MOST_LEVELS = 4


@dataclass(frozen=True)
class BitPlanes:
    """How vectors of `dim` dimensions with `levels` bits each lie in bytes.

    Attributes:
        dim: dimensions m.
        levels: bits per dimension L, 1 to 4.
    """

    dim: int
    levels: int

    @property
    def group(self) -> int:
        """Dimensions whose bits lie together in four."""
        return {1: 4, 2: 2}.get(self.levels, 1)

    @property
    def n_bytes(self) -> int:
        """Of one vector."""
        return -(-self.dim // (2 * self.group))

    @property
    def dim_stored(self) -> int:
        """Dimensions with those that fill the last byte, whose bits are zero."""
        return self.n_bytes * 2 * self.group

    @cached_property
    def values(self) -> Vectors:
        """(16, group) what four bits stand for."""
        bits = (np.arange(16)[:, None] >> np.arange(4)) & 1
        signs = (2 * bits[:, : self.levels * self.group] - 1).reshape(16, self.levels, self.group)
        scales = 0.5 ** np.arange(self.levels)
        values: Vectors = (signs * scales[:, None]).sum(axis=1).astype(np.float32)
        return values

    def pack(self, planes: NDArray[np.bool_]) -> Codes:
        """(n, n_bytes) codes of the signs (n, levels, dim), true for plus."""
        n = len(planes)
        bits = np.zeros((n, self.n_bytes * 2, 4), dtype=np.bool_)
        filled = np.zeros((n, self.levels, self.dim_stored), dtype=np.bool_)
        filled[:, :, : self.dim] = planes
        grouped = filled.reshape(n, self.levels, -1, self.group).swapaxes(1, 2)
        bits[:, :, : self.levels * self.group] = grouped.reshape(n, self.n_bytes * 2, -1)
        return np.packbits(bits.reshape(n, -1), axis=1, bitorder="little")

    def decode(self, codes: Codes) -> Vectors:
        """(n, dim) the vectors that `codes` stand for."""
        fours = np.stack([codes & 15, codes >> 4], axis=-1)
        vectors: Vectors = self.values.take(fours, axis=0).reshape(len(codes), self.dim_stored)
        return vectors[:, : self.dim]

    def products(self, queries: Codes, documents: Codes) -> Vectors:
        """Inner products of `queries` (..., n_bytes) with `documents`, of shapes that broadcast.

        sum_ij 2^-(i+j) (m - 2 popcount(q_i xor d_j)), which is exact in float32: multiples of
        4^-(L-1) far below 2^24 of them.
        """
        total: Any = np.float32(0)
        words = _words(documents)
        for i in range(self.levels):
            differing = words ^ _words(self._spread(queries, i))
            for j in range(self.levels):
                mask = _words(np.full(self.n_bytes, self._mask(j), dtype=np.uint8))
                distance = popcount(differing & mask)
                total = total + np.float32(0.5 ** (i + j)) * (self.dim - 2 * distance)
        products: Vectors = np.asarray(total, dtype=np.float32)
        return products

    def squares(self, codes: Codes) -> Vectors:
        """(n,) squared lengths."""
        return self.products(codes, codes)

    def _mask(self, plane: int) -> int:
        """The bits of `plane` in a byte."""
        four = ((1 << self.group) - 1) << (plane * self.group)
        return four | four << 4

    def _spread(self, codes: Codes, plane: int) -> Codes:
        """The bits of `plane` also in the places of all other planes."""
        lowest = (codes & self._mask(plane)) >> np.uint8(plane * self.group)
        spread = np.zeros_like(codes)
        for other in range(self.levels):
            spread |= lowest << np.uint8(other * self.group)
        return spread


def _words(codes: Codes) -> NDArray[Any]:
    """The same bits in the widest integers that divide a row."""
    codes = np.ascontiguousarray(codes)
    width = next(width for width in (8, 4, 2, 1) if codes.shape[-1] % width == 0)
    return codes.view(f"u{width}")


def popcount(words: NDArray[Any]) -> NDArray[np.int32]:
    """Set bits of each row, the last axis."""
    if hasattr(np, "bitwise_count"):  # NumPy 2
        counts = np.bitwise_count(words)
    else:
        counts = _SET_BITS[words.view(np.uint8)]
    # A product with ones adds short rows several times faster than a sum does.
    added: NDArray[np.int32] = (
        counts.astype(np.float32) @ np.ones(counts.shape[-1], np.float32)
    ).astype(np.int32)
    return added


_SET_BITS = np.array([bin(byte).count("1") for byte in range(256)], dtype=np.uint8)
