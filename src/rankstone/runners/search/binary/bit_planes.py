"""Vectors with few bits per dimension.

A code with L bits per dimension is a vector on the grid {±1 ±1/2 ... ±2^-(L-1)}: plane i holds the
sign of the term 2^-i as one bit per dimension. This is the format of BEBR's recurrent binarisation
(Gan et al., KDD 2023, arXiv:2302.08714); with L = 1 it is an ordinary binary hash.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint64]
"""(n, words, levels): 64 dimensions per word."""
Vectors = NDArray[np.float32]
MOST_LEVELS = 4


@dataclass(frozen=True)
class BitPlanes:
    """Layout of vectors of `dim` dimensions with `levels` bits each in words of 64 bits.

    Attributes:
        dim: dimensions m. Padding bits of the last word are zero.
        levels: bits per dimension L, 1 to 4.
    """

    dim: int
    levels: int

    @property
    def words(self) -> int:
        """Words per plane."""
        return -(-self.dim // 64)

    def pack(self, planes: NDArray[np.bool_]) -> Codes:
        """Return the (n, words, levels) codes of (n, levels, dim) signs, True for plus."""
        filled = np.zeros((len(planes), self.levels, self.words * 64), dtype=np.bool_)
        filled[:, :, : self.dim] = planes
        words = np.packbits(filled, axis=2, bitorder="little").view(np.uint64)
        return np.ascontiguousarray(words.swapaxes(1, 2))

    def decode(self, codes: Codes) -> Vectors:
        """Return the (n, dim) vectors that `codes` stand for."""
        planes = np.ascontiguousarray(codes.swapaxes(1, 2)).view(np.uint8)
        bits = np.unpackbits(planes, axis=2, bitorder="little", count=self.dim)
        vectors = np.zeros((len(codes), self.dim), dtype=np.float32)
        for i in range(self.levels):
            vectors += np.float32(0.5**i) * (bits[:, i].astype(np.float32) * 2 - 1)
        return vectors

    def squares(self, codes: Codes) -> Vectors:
        """Return the (n,) squared lengths: sum_ij 2^-(i+j) (m - 2 popcount(d_i xor d_j)).

        Exact in float32: multiples of 4^-(L-1), at most m (2^L - 1)^2 of them, which is below 2^24
        up to 74,565 dimensions.
        """
        own = self.dim * sum(0.25**i for i in range(self.levels))
        squares = np.full(len(codes), own, dtype=np.float32)
        for j in range(self.levels):
            for i in range(j):
                differing = popcount(codes[:, :, i] ^ codes[:, :, j])
                squares += np.float32(2 * 0.5 ** (i + j)) * (self.dim - 2 * differing)
        return squares


def popcount(words: NDArray[Any]) -> NDArray[np.int32]:
    """Return the number of set bits along the last axis."""
    if hasattr(np, "bitwise_count"):  # NumPy 2
        counts = np.bitwise_count(words)
    else:
        counts = _SET_BITS[words.view(np.uint8)]
    # A product with ones sums short rows several times faster than `sum`.
    added: NDArray[np.int32] = (
        counts.astype(np.float32) @ np.ones(counts.shape[-1], np.float32)
    ).astype(np.int32)
    return added


_SET_BITS = np.array([bin(byte).count("1") for byte in range(256)], dtype=np.uint8)
