"""Binary hashes that are solved for, not trained: projections and thresholds from a sample.

A hash is sign(x W - t) of a vector x of mean square 1; what follows are ways to choose W and t.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rankstone.runners.search.binary.binariser import Binariser
from rankstone.runners.search.binary.bit_planes import Vectors
from rankstone.runners.search.binary.layers import Layers

ITERATIONS = 50
"""Rounds of ITQ, as in its paper."""


def orthonormal(dim: int, bits: int, seed: int) -> Vectors:
    """(dim, bits) random, from the uniform distribution.

    With up to `dim` bits the columns are orthonormal; with more, the rows are, times a number that
    gives every column length 1 in the mean: a tight frame, so that nothing is lost of a vector.
    """
    size = max(dim, bits)
    gaussian = np.random.default_rng(seed).standard_normal((size, size))
    q, r = np.linalg.qr(gaussian)
    turned = (q * np.sign(np.diag(r)))[:dim, :bits] * np.sqrt(size / dim)
    return np.asarray(turned, dtype=np.float32)


def principal(sample: Vectors, bits: int) -> Vectors:
    """(d, bits) the directions of greatest variance; at most d."""
    centred = sample - sample.mean(axis=0)
    _, vectors = np.linalg.eigh(centred.T.astype(np.float64) @ centred)
    return np.asarray(vectors[:, ::-1][:, :bits], dtype=np.float32)


def itq(sample: Vectors, bits: int, *, centre: bool, seed: int) -> Layers:
    """Iterative quantisation (Gong and Lazebnik, CVPR 2011): the rotation of least loss.

    Of the projection V on `bits` principal directions, the rotation R that minimises
    |B - V R|_F over R and the signs B, in turn: B = sign(V R), then R = S S'^T of the singular
    value decomposition S O S'^T = V^T B. Random at first. (faiss 1.15 has an ITQMatrix, whose
    loss after 50 iterations is still that of a random rotation.)

    Args:
        centre: V is of vectors less their mean, as in the paper. Without it, directions and signs
            are about zero: for encoders whose queries have another mean than documents.
    """
    mean = sample.mean(axis=0) if centre else np.zeros(sample.shape[1], dtype=np.float32)
    whole = bits == sample.shape[1]
    directions = np.eye(bits, dtype=np.float32) if whole else principal(sample, bits)
    projected = (sample - mean) @ directions
    rotation = orthonormal(bits, bits, seed)
    for _ in range(ITERATIONS):
        signs = np.where(projected @ rotation > 0, np.float32(1), np.float32(-1))
        left, _, right = np.linalg.svd((projected.T @ signs).astype(np.float64))
        rotation = (left @ right).astype(np.float32)
    weight = directions @ rotation
    return Layers.affine(weight, -(mean @ weight))


def at_medians(hash_: Layers, sample: Vectors) -> Layers:
    """The same projection, with the threshold of every bit at its median: half the bits are set."""
    medians: NDArray[np.float32] = np.median(hash_(sample), axis=0)
    return Layers(hash_.weights, (hash_.biases[0] - medians,))


def plain(dim: int, bits: int | None, seed: int) -> Layers:
    """The dimensions themselves, or, if a number of `bits` is given, so many random directions."""
    if bits is None:
        return Layers.affine(np.ones(dim, dtype=np.float32))
    return Layers.affine(orthonormal(dim, bits, seed))


def residual_signs(dim: int, bits: int | None, loops: int, seed: int) -> Binariser:
    """Recurrent binarisation with nothing learned: W and R_i are `plain`, B_i is its inverse.

    BEBR's form without its networks. Each code is the nearest point of the grid, dimension by
    dimension, but for the scaling of what the code so far stands for.
    """
    first = plain(dim, bits, seed)
    weight = first.weights[0]
    # Rows or columns are orthogonal: the transpose goes back, up to a factor that scaling removes.
    back = Layers.affine(weight.T)
    return Binariser(first, ((back, first),) * loops)
