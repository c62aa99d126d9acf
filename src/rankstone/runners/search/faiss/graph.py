"""Inner-product search over derived vectors: by a graph, or over codes of them."""

from __future__ import annotations

import warnings
from typing import Annotated

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.errors import DefinitionError, RankstoneWarning
from rankstone.runners.protocols import STRICT, Context
from rankstone.runners.search.base import OverEncoder
from rankstone.runners.search.exact.flat import Mapped
from rankstone.runners.search.faiss.faiss_index import FaissIndex, one_thread

CENTROIDS, PQ_DIMS = 256, 8
"""PQ-256-8: so many centroids for each run of so many dimensions, one byte per run."""
TRAINED_ON = 10_000
"""So many vectors: more than 39 per centroid, which is what faiss asks for."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class WithGraph(OverEncoder):
    """The parameters of a hierarchical navigable small world graph, for where one is searched.

    Malkov and Yashunin, arXiv:1603.09320. It is built by one thread, in the order of the corpus:
    another order gives another graph.
    """

    m: Annotated[int, Field(ge=2)] = 32
    """Neighbours of a vector; twice as many in the lowest layer."""
    ef_construction: Annotated[int, Field(ge=1)] = 200
    """Candidates held while a vector is added."""
    ef_search: Annotated[int, Field(ge=1)] = 128
    """Candidates held while searching; k, if that is more."""

    def graph(self, vectors: Mapped, dim: int) -> FaissIndex:
        import faiss

        index = faiss.IndexHNSWFlat(dim, self.m, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = self.ef_construction
        index.hnsw.efSearch = self.ef_search
        with one_thread():
            for block in vectors:
                index.add(block)
        return FaissIndex(index)


def pq_256_8(vectors: Mapped, dim: int, context: Context) -> FaissIndex:
    """Product quantisation to dim / 8 bytes, all codes compared with the query by table look-ups.

    Its centroids are those of k-means over at most `TRAINED_ON` vectors, drawn by the
    context's seed.
    """
    import faiss

    if dim % PQ_DIMS:
        raise DefinitionError(
            f"key 'parameters.search': \"pq\" takes runs of {PQ_DIMS} dimensions, which {dim}"
            " cannot be cut into. Correct 'parameters.inner_dim' or 'parameters.final_dim'."
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
    index = faiss.IndexPQ(dim, dim // PQ_DIMS, bits, faiss.METRIC_INNER_PRODUCT)
    index.pq.cp.seed = context.seed
    index.pq.cp.min_points_per_centroid = 1  # the warning above says it once, and not per run
    with context.phase("train", len(sample)):
        index.train(sample)
    for block in vectors:
        index.add(block)
    return FaissIndex(index)
