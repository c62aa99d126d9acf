"""Vectors with two bits per dimension, without training on the corpus.

A fixed random rotation makes the coordinates of any vector approximately normally distributed;
each is then replaced by the nearest of the four levels that are optimal for the normal
distribution: the scheme of TurboQuant (Zandieh et al., arXiv:2504.19874) with the levels of Max
("Quantizing for minimum distortion", 1960, table I). ColBERTv2's residual codes differ: they need
centroids trained on the corpus.

A rotation preserves inner products, so queries are rotated like documents (`turned`), and vectors
are never rotated back.
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
"""(256, 4) levels encoded by each byte, lowest bits first."""


@dataclass(frozen=True, eq=False)
class TwoBits:
    """(n, dim) vectors as codes: ``scales[i] * LEVELS[code]`` in each dimension.

    Attributes:
        codes: (n, dim / 4 rounded up) bytes, four dimensions each.
        scales: (n,) float32.
        dim: dimensions of a vector.
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
        """Return the (n, dim) vectors that the codes stand for."""
        levels = DECODED.take(self.codes, axis=0)
        levels = levels.reshape(len(self), self.codes.shape[1] * PER_BYTE)[:, : self.dim]
        vectors: NDArray[np.float32] = levels * self.scales[:, None]
        return vectors


def two_bits(vectors: NDArray[np.float32]) -> TwoBits:
    """Return the codes of (n, dim) vectors that have been `turned`.

    The scale makes the inner product of a vector with its code equal to its squared norm, so that
    scores are not biased downwards (the estimator of RaBitQ, Gao and Long, arXiv:2405.12497).
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
    """Return (n, dim) vectors after the rotation shared by all 2-bit representations."""
    return vectors @ _rotation(vectors.shape[1])


@lru_cache(maxsize=4)
def _rotation(dim: int) -> NDArray[np.float32]:
    """Return a uniformly distributed (dim, dim) orthogonal matrix that never changes.

    NumPy guarantees the stream of RandomState, not that of Generator, and stored codes must match
    queries that another version of NumPy has rotated.
    """
    gaussian = np.random.RandomState(0).standard_normal((dim, dim))
    q, r = np.linalg.qr(gaussian)
    # LAPACK may choose either sign; this makes the factorisation unique.
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
