"""Vectors at two bits per dimension, without anything learned from the corpus.

A vector is turned by a fixed random rotation, after which its coordinates are near to normally
distributed whatever it was before, and each coordinate is replaced by the nearest of the four
levels that are best for the normal distribution: the scheme of TurboQuant (Zandieh et al.,
arXiv:2504.19874) with the levels of Max ("Quantizing for minimum distortion", 1960, table I).
These are not the residual codes of ColBERTv2, which need centroids trained on the corpus.

A rotation changes no inner product, so queries are rotated as documents are (`turned`), and
nothing is ever rotated back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rankstone.runners.representations.base import UNPACK, Packed, join, pack, take

DESCRIPTION = "2 bits: random rotation of seed 0, Max's levels of the normal distribution, a scale"
LEVELS = np.array([-1.51042, -0.45278, 0.45278, 1.51042], dtype=np.float32)
THRESHOLDS = np.array([-0.98160, 0.0, 0.98160], dtype=np.float32)
PER_BYTE = 4
SHIFTS = np.arange(0, 8, 2, dtype=np.uint8)
DECODED = LEVELS[(np.arange(256)[:, None] >> SHIFTS) & 3]
"""(256, 4) the levels that a byte stands for, its lowest bits first."""


@dataclass(frozen=True, eq=False)
class TwoBits:
    """(n, dim) vectors as codes: ``scales[i] * LEVELS[code]`` in each dimension.

    Attributes:
        codes: (n, dim / 4 rounded up) bytes, four dimensions each.
        scales: (n,) float32.
        dim: how many dimensions a vector has.
    """

    codes: NDArray[np.uint8]
    scales: NDArray[np.float32]
    dim: int

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, part: slice) -> TwoBits:
        return TwoBits(self.codes[part], self.scales[part], self.dim)

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.codes), self.dim

    def decoded(self) -> NDArray[np.float32]:
        """(n, dim) the vectors that the codes stand for."""
        levels = DECODED.take(self.codes, axis=0)
        levels = levels.reshape(len(self), self.codes.shape[1] * PER_BYTE)[:, : self.dim]
        vectors: NDArray[np.float32] = levels * self.scales[:, None]
        return vectors


def two_bits(vectors: NDArray[np.float32]) -> TwoBits:
    """The codes of (n, dim) vectors that were `turned`.

    The scale makes the inner product of a vector with its code that with itself, so that scores
    are not systematically too low (the estimator of RaBitQ, Gao and Long, arXiv:2405.12497).
    """
    n, dim = vectors.shape
    n_bytes = -(-dim // PER_BYTE)
    squares = np.einsum("nd,nd->n", vectors, vectors)
    deviations = np.sqrt(squares / np.float32(dim))
    numbers = np.zeros((n, n_bytes * PER_BYTE), dtype=np.uint8)
    for threshold in THRESHOLDS:
        numbers[:, :dim] += vectors > deviations[:, None] * threshold
    products = np.einsum("nd,nd->n", vectors, LEVELS.take(numbers[:, :dim]))
    scales = np.divide(squares, products, out=np.zeros_like(squares), where=squares > 0)
    codes = (numbers.reshape(n, n_bytes, PER_BYTE) << SHIFTS).sum(axis=2, dtype=np.uint8)
    return TwoBits(codes, scales.astype(np.float32), dim)


def turned(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, dim) vectors after the rotation that every 2-bit representation shares."""
    return vectors @ _rotation(vectors.shape[1])


@lru_cache(maxsize=4)
def _rotation(dim: int) -> NDArray[np.float32]:
    """(dim, dim) orthogonal, uniformly distributed, and the same for ever.

    NumPy freezes the stream of RandomState, not that of its successor, and codes in shards must
    meet queries that another NumPy has turned.
    """
    gaussian = np.random.RandomState(0).standard_normal((dim, dim))
    q, r = np.linalg.qr(gaussian)
    # Signs of the factors are the library's choice; these make the factorisation unique.
    rotation: NDArray[np.float32] = (q * np.sign(np.diag(r))).astype(np.float32)
    return rotation


@take.register
def _(rep: TwoBits, positions: NDArray[np.int64]) -> TwoBits:
    return TwoBits(take(rep.codes, positions), take(rep.scales, positions), rep.dim)


@join.register
def _(first: TwoBits, reps: Sequence[TwoBits]) -> TwoBits:
    codes, scales = ([getattr(rep, name) for rep in reps] for name in ("codes", "scales"))
    return TwoBits(np.concatenate(codes), np.concatenate(scales), first.dim)


@pack.register
def _(rep: TwoBits) -> Packed:
    arrays: dict[str, NDArray[Any]] = {"codes": rep.codes, "scales": rep.scales}
    return Packed("2bit", {**arrays, "dim": np.array([rep.dim])})


UNPACK["2bit"] = lambda arrays: TwoBits(arrays["codes"], arrays["scales"], int(arrays["dim"][0]))
