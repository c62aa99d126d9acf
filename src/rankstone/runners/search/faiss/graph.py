"""HNSW graphs of faiss: parameters and construction."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.runners.protocols import STRICT, Context
from rankstone.runners.search.base import OverEncoder
from rankstone.runners.search.exact.flat import Vectors, one_thread
from rankstone.runners.search.faiss.faiss_index import FaissIndex, filled, library


@dataclass(frozen=True, kw_only=True, config=STRICT)
class WithGraph(OverEncoder):
    """Parameters of a hierarchical navigable small world (HNSW) graph.

    Malkov and Yashunin: Efficient and robust approximate nearest neighbor search using Hierarchical
    Navigable Small World graphs, IEEE TPAMI 2020 (arXiv:1603.09320). It is built by one thread in
    corpus order: a different order, or several threads, give a different graph.
    """

    m: Annotated[int, Field(ge=2)] = 32
    """Neighbours per vector on the upper levels; twice as many on the lowest level."""
    ef_construction: Annotated[int, Field(ge=1)] = 200
    """Size of the candidate list when inserting a vector."""
    ef_search: Annotated[int, Field(ge=1)] = 128
    """Size of the candidate list in a search; at least k."""

    def graph_bytes(self, n: int, dim: int) -> int:
        """Return the bytes of vectors, links, offsets and levels (1 / m of a level is in the
        next)."""
        links = 2 * self.m + self.m / (self.m - 1)
        return int(n * (4 * dim + 4 * links + 12))

    def graph(self, vectors: Iterable[Vectors], dim: int, context: Context) -> FaissIndex:
        """Return the graph over pieces of (n, dim) `vectors`; the context's seed draws the
        levels."""
        faiss = library()
        index = faiss.IndexHNSWFlat(dim, self.m, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.rng = faiss.RandomGenerator(context.seed)
        index.hnsw.efConstruction = self.ef_construction
        index.hnsw.efSearch = self.ef_search
        with one_thread():
            return filled(index, vectors, context.work)
