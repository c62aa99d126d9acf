"""Binary hashes without gradient training: projections and thresholds from a sample.

A hash is sign(x W - t) of a vector x of mean square 1; the functions here choose W and t.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rankstone.runners.search.binary.binariser import Binariser
from rankstone.runners.search.binary.bit_planes import Vectors
from rankstone.runners.search.binary.layers import Layers

ITERATIONS = 50
"""Iterations of ITQ, as in its paper."""


def orthonormal(dim: int, bits: int, seed: int) -> Vectors:
    """Return a random (dim, bits) matrix, uniformly distributed.

    With up to `dim` bits the columns are orthonormal; with more, the rows are orthogonal, scaled so
    that the mean squared length of columns is 1: a tight frame, which loses no information.
    """
    size = max(dim, bits)
    gaussian = np.random.default_rng(seed).standard_normal((size, size))
    q, r = np.linalg.qr(gaussian)
    turned = (q * np.sign(np.diag(r)))[:dim, :bits] * np.sqrt(size / dim)
    return np.asarray(turned, dtype=np.float32)


def principal(sample: Vectors, bits: int) -> Vectors:
    """Return the (d, bits) directions of largest variance; at most d."""
    centred = sample - sample.mean(axis=0)
    _, vectors = np.linalg.eigh(centred.T.astype(np.float64) @ centred)
    return np.asarray(vectors[:, ::-1][:, :bits], dtype=np.float32)


def itq(sample: Vectors, bits: int, *, centre: bool, seed: int) -> Layers:
    """Return the rotation of least loss, by iterative quantisation (Gong and Lazebnik, CVPR 2011).

    For the projection V on `bits` principal directions, |B - V R|_F is minimised alternately over
    the signs B = sign(V R) and the rotation R = S S'^T, from the singular value decomposition
    S O S'^T = V^T B. R is random initially. (The loss of faiss 1.15's ITQMatrix after 50 iterations
    is still that of a random rotation.)

    Args:
        centre: subtract the mean from vectors, as in the paper. False centres on zero, for encoders
        whose queries have a different mean than documents.
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
    """Return the projection with the threshold of each bit at its median: half the bits are set."""
    medians: NDArray[np.float32] = np.median(hash_(sample), axis=0)
    return Layers(hash_.weights, (hash_.biases[0] - medians,))


def plain(dim: int, bits: int | None, seed: int) -> Layers:
    """Return the identity, or the projection on `bits` random directions if given."""
    if bits is None:
        return Layers.affine(np.ones(dim, dtype=np.float32))
    return Layers.affine(orthonormal(dim, bits, seed))


def residual_signs(dim: int, bits: int | None, loops: int, seed: int) -> Binariser:
    """Return recurrent binarisation without training: W and R_i are `plain`, B_i is its inverse.

    This is BEBR without networks. Each code is the nearest grid point per dimension, except for the
    scaling of the reconstruction so far.
    """
    first = plain(dim, bits, seed)
    weight = first.weights[0]
    # Rows or columns are orthogonal: the transpose is the inverse up to scaling.
    back = Layers.affine(weight.T)
    return Binariser(first, ((back, first),) * loops)
