"""Product quantisers: training by faiss, and indexes from a rotation, centroids and codes."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from rankstone.errors import DefinitionError, RankstoneWarning
from rankstone.runners.protocols import Chunks, Context
from rankstone.runners.search.base import capped
from rankstone.runners.search.exact.flat import Mapped, Vectors
from rankstone.runners.search.faiss.faiss_index import (
    POINTS_PER_CENTROID,
    FaissIndex,
    blocks,
    compacted,
    library,
    training_sample,
)
from rankstone.runners.search.faiss.inverted_lists import LIST_POINTS, coarse_quantiser, prepare

Codes = NDArray[np.uint8]
Subvectors = Annotated[int, Field(ge=1)]
BYTE = 8
CENTROIDS, PQ_DIMS = 256, 8
"""PQ-256-8: 256 centroids for every 8 dimensions, which take one byte."""
TRAINED_ON = 10_000
"""Training vectors of PQ-256-8: more than the 39 per centroid recommended by faiss."""


class Quantiser(NamedTuple):
    """A rotation R and M codebooks: the code of x is a centroid for each of the M parts of R x.

    Attributes:
        rotation: (dim, dim) with orthonormal rows, so that <q, x> = <R q, R x>; None: no rotation.
        centroids: (M, 2^bits, dim / M) float32.
    """

    rotation: Vectors | None
    centroids: Vectors

    @property
    def bits(self) -> int:
        return int(self.centroids.shape[1]).bit_length() - 1

    def rotated(self, vectors: Vectors) -> Vectors:
        if self.rotation is None:
            return vectors
        turned: Vectors = np.ascontiguousarray(vectors @ self.rotation.T)
        return turned

    def codes(self, vectors: Vectors) -> Codes:
        """Return (n, M): the nearest centroid of each part of each vector; at most 8 bits each."""
        n_parts, _, width = self.centroids.shape
        parts = self.rotated(vectors).reshape(len(vectors), n_parts, width)
        codes = np.empty((len(vectors), n_parts), dtype=np.uint8)
        squares = (self.centroids**2).sum(axis=2)
        for part in range(n_parts):
            products = parts[:, part] @ self.centroids[part].T
            codes[:, part] = np.argmin(squares[part] - 2 * products, axis=1)
        return codes

    def decoded(self, codes: Codes) -> Vectors:
        """Return the (n, dim) reconstructed vectors, still rotated."""
        parts = self.centroids[np.arange(codes.shape[1]), codes]
        return parts.reshape(len(codes), -1)


def check_subvectors(subvectors: int, dim: int) -> None:
    """Raise DefinitionError unless `subvectors` divides `dim`."""
    if dim % subvectors:
        fitting = [m for m in range(1, dim + 1) if dim % m == 0]
        raise DefinitionError(
            f"key 'parameters.subvectors': {subvectors} parts of equal length do not make the"
            f" encoder's {dim} dimensions. Take one of {', '.join(map(str, fitting))}."
        )


def bits_for(asked: int, n_documents: int) -> int:
    """Return the bits, limited so that there are no more centroids than documents."""
    most = max(1, int(n_documents).bit_length() - 1)
    return capped("bits", asked, most, f"{n_documents} documents train no more centroids")


def sample_size(bits: int) -> int:
    return POINTS_PER_CENTROID << bits


def seeded(quantiser: Any, seed: int) -> Any:
    """Return faiss's product quantiser with its clustering seeded."""
    quantiser.cp.seed = seed
    quantiser.cp.min_points_per_centroid = 1  # suppresses faiss's warning
    return quantiser


def trained(index: Any, sample: Vectors, *, rotate: bool, seed: int) -> Any:
    """Return the faiss IndexPQ or IndexIVFPQ `index`, trained, optionally after a learnt rotation.

    The rotation is that of Ge et al., optimised alternately with the codebooks.
    """
    faiss = library()
    seeded(index.pq, seed)
    if not rotate:
        index.train(sample)
        return index
    dim, pq = index.d, index.pq
    rotation = faiss.OPQMatrix(dim, pq.M)
    alternating = seeded(faiss.ProductQuantizer(dim, pq.M, pq.nbits), seed)
    rotation.pq = alternating
    if len(sample) < dim:
        rotation.niter = 5  # instead of 50, which take seconds: few points fit any rotation
    rotation.train(_at_least(dim, sample))
    rotation.pq = None  # not owned by the rotation
    index.train(rotation.apply(sample))
    return chained(rotation, index)


def _at_least(n: int, sample: Vectors) -> Vectors:
    """Repeat `sample` to `n` rows: with fewer rows than dimensions, faiss's OPQ writes out of
    bounds (faiss issues 2637 and 4038)."""
    return np.tile(sample, (-(-n // len(sample)), 1))


def chained(transform: Any, index: Any) -> Any:
    """Return `index` preceded by a transform of vectors and queries."""
    faiss = library()
    whole = faiss.IndexPreTransform(transform, index)
    whole.is_trained = True
    return whole


def quantiser_of(index: Any) -> Quantiser:
    """Return the quantiser of a trained IndexPQ, which a rotation may precede."""
    faiss = library()
    # Separate names: faiss frees an index with the last reference to its outermost wrapper.
    inner, rotation = faiss.downcast_index(index), None
    if isinstance(inner, faiss.IndexPreTransform):
        matrix = faiss.downcast_VectorTransform(inner.chain.at(0)).A
        rotation = faiss.vector_to_array(matrix).reshape(index.d, index.d)
        inner = faiss.downcast_index(inner.index)
    pq = inner.pq
    return Quantiser(rotation, faiss.vector_to_array(pq.centroids).reshape(pq.M, pq.ksub, pq.dsub))


def opq(sample: Vectors, *, subvectors: int, bits: int, seed: int) -> Quantiser:
    """Train faiss's OPQ{subvectors},PQ{subvectors}x{bits}."""
    faiss = library()
    dim = sample.shape[1]
    index = faiss.IndexPQ(dim, subvectors, bits, faiss.METRIC_INNER_PRODUCT)
    return quantiser_of(trained(index, sample, rotate=True, seed=seed))


class CodedDocuments(NamedTuple):
    """Codes and lists of documents, by position."""

    codes: Codes
    lists: NDArray[np.int64] | None
    """(n,) inverted list of each document; None without lists."""
    coarse: Vectors | None
    """(n_lists, dim) centroids of the lists, rotated."""


def bare_index(quantiser: Quantiser, codes: Codes) -> Any:
    """Return a faiss index of (n, M) codes, for queries that are already rotated."""
    faiss = library()
    n_parts, _, width = quantiser.centroids.shape
    metric = faiss.METRIC_INNER_PRODUCT
    index = faiss.IndexPQ(n_parts * width, n_parts, quantiser.bits, metric)
    faiss.copy_array_to_vector(quantiser.centroids.ravel(), index.pq.centroids)
    index.is_trained = True
    faiss.copy_array_to_vector(codes.ravel(), index.codes)
    index.ntotal = len(codes)
    return index


def encoded(quantiser: Quantiser, documents: Iterable[Vectors]) -> Codes:
    """Return the (n, M) codes of all documents, computed piece by piece."""
    return np.concatenate([quantiser.codes(block) for block in blocks(documents)])


def assembled(
    quantiser: Quantiser,
    documents: CodedDocuments,
    work: Path,
    *,
    query_transform: Vectors | None = None,
    n_probe: int = 1,
) -> FaissIndex:
    """Return a faiss index with these centroids and codes.

    Args:
        quantiser: of 8 bits.
        documents: codes and, optionally, lists.
        work: an empty folder.
        query_transform: (dim, dim) for queries, instead of the rotation.
        n_probe: number of lists read per search.
    """
    if documents.lists is None or documents.coarse is None:
        index = bare_index(quantiser, documents.codes)
    else:
        index = _listed(quantiser, documents.codes, documents.lists, documents.coarse)
        prepare(index, n_probe=n_probe, seed=0)  # the seed has no effect after training
    matrix = quantiser.rotation if query_transform is None else query_transform
    if matrix is None:
        return compacted(index, work)
    faiss = library()
    linear = faiss.LinearTransform(index.d, index.d, False)
    faiss.copy_array_to_vector(np.ascontiguousarray(matrix, np.float32).ravel(), linear.A)
    linear.is_trained = True
    whole = chained(linear, index)
    whole.ntotal = index.ntotal
    return compacted(whole, work)


def _listed(quantiser: Quantiser, codes: Codes, lists: NDArray[np.int64], centres: Vectors) -> Any:
    """Return a faiss index of codes in lists, ordered by position within each."""
    faiss = library()
    n_parts, _, width = quantiser.centroids.shape
    dim, metric = n_parts * width, faiss.METRIC_INNER_PRODUCT
    coarse = coarse_quantiser(dim)
    coarse.add(centres)
    index = faiss.IndexIVFPQ(coarse, dim, len(centres), n_parts, quantiser.bits, metric)
    index.by_residual = False  # centroids are those of vectors, not of residuals
    faiss.copy_array_to_vector(quantiser.centroids.ravel(), index.pq.centroids)
    index.is_trained = True
    order = np.argsort(lists, kind="stable")
    ends = np.cumsum(np.bincount(lists, minlength=index.nlist))
    for number, ids in enumerate(np.split(order, ends[:-1])):
        rows = np.ascontiguousarray(codes[ids])
        if len(ids):
            pointers = faiss.swig_ptr(ids), faiss.swig_ptr(rows)
            index.invlists.add_entries(number, len(ids), *pointers)
    index.ntotal = len(codes)
    return index


def lists_of(
    quantiser: Quantiser, documents: Chunks[Vectors], n_lists: int, seed: int
) -> tuple[NDArray[np.int64], Vectors]:
    """Return each document's list, and the (n_lists, dim) centroids of lists, of rotated
    vectors."""
    faiss = library()
    sample = quantiser.rotated(training_sample(documents, n_lists * LIST_POINTS, seed))
    dim = sample.shape[1]
    metric = faiss.METRIC_INNER_PRODUCT
    ivf = faiss.IndexIVFFlat(coarse_quantiser(dim), dim, n_lists, metric)
    prepare(ivf, n_probe=1, seed=seed)
    ivf.train(sample)
    parts = [
        ivf.quantizer.search(quantiser.rotated(block), 1)[1][:, 0] for block in blocks(documents)
    ]
    return np.concatenate(parts), ivf.quantizer.reconstruct_n(0, n_lists)


def pq_256_8(vectors: Mapped, dim: int, context: Context) -> FaissIndex:
    """Return an exhaustive index with product quantisation to dim / 8 bytes.

    Centroids are trained by k-means on at most `TRAINED_ON` vectors, drawn with the context's seed.
    """
    if dim % PQ_DIMS:
        raise DefinitionError(
            f"key 'parameters.search': \"pq\" takes runs of {PQ_DIMS} dimensions, which {dim}"
            " cannot be split into. Correct 'parameters.inner_dim' or 'parameters.final_dim'."
        )
    chosen = np.random.default_rng(context.seed).permutation(len(vectors))[:TRAINED_ON]
    sample = vectors.take(np.sort(chosen))
    bits = min(CENTROIDS, len(sample)).bit_length() - 1
    if 2**bits < CENTROIDS:
        warnings.warn(
            f"PQ-{CENTROIDS}-{PQ_DIMS} needs {CENTROIDS} vectors to learn from, the collection has"
            f" {len(sample)}: took {2**bits} centroids.",
            RankstoneWarning,
            stacklevel=2,
        )
    faiss = library()
    index = faiss.IndexPQ(dim, dim // PQ_DIMS, bits, faiss.METRIC_INNER_PRODUCT)
    seeded(index.pq, context.seed)
    with context.phase("train", len(sample)):
        index.train(sample)
    for block in vectors:
        index.add(block)
    return FaissIndex(index)
