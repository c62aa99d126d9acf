"""Approximate search by hierarchical navigable small world graphs of faiss."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.runners.protocols import STRICT, Chunks, Context
from rankstone.runners.search.base import OverEncoder
from rankstone.runners.search.exact.flat import Vectors
from rankstone.runners.search.faiss.faiss_index import (
    FaissIndex,
    filled,
    library,
    one_thread,
    training_sample,
)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class WithGraph(OverEncoder):
    """The parameters of a hierarchical navigable small world graph, for where one is searched.

    Malkov and Yashunin: Efficient and robust approximate nearest neighbor search using Hierarchical
    Navigable Small World graphs, IEEE TPAMI 2020 (arXiv:1603.09320). It is built by one thread, in
    the order of the corpus: another order, or several threads, give another graph.
    """

    m: Annotated[int, Field(ge=2)] = 32
    """Neighbours of a vector on the upper levels; twice as many on the lowest."""
    ef_construction: Annotated[int, Field(ge=1)] = 200
    """Candidates kept while a vector looks for its neighbours."""
    ef_search: Annotated[int, Field(ge=1)] = 128
    """Candidates kept while a query looks for its results; k, if that is more."""

    def graph(self, vectors: Iterable[Vectors], dim: int, context: Context) -> FaissIndex:
        """The graph over pieces of (n, dim) `vectors`; levels are drawn by the context's seed."""
        faiss = library()
        index = faiss.IndexHNSWFlat(dim, self.m, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.rng = faiss.RandomGenerator(context.seed)
        index.hnsw.efConstruction = self.ef_construction
        index.hnsw.efSearch = self.ef_search
        with one_thread():
            return filled(index, vectors, context.work)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class HNSW(WithGraph):
    """The graph over float vectors, by faiss.

    A search descends the sparser
    levels greedily, then keeps the best `ef_search` candidates of the lowest: about
    O(m ef log n) inner products instead of n. Memory: n (4 dim + 8 m + 12) bytes and a little.

    faiss takes max(ef_search, k) for `ef_search`: a search for 1,000 documents is slower and finds
    more of the best 10 than a search for 10. Ties: see `FaissIndex`.
    """

    DESCRIPTION: ClassVar[str] = "HNSW graph, inner product, faiss"
    requires: ClassVar[Mapping[str, str]] = {"faiss": "ann"}

    def build(self, documents: Chunks[Any], context: Context) -> FaissIndex:
        dim = training_sample(documents, 1, context.seed).shape[1]
        return self.graph(documents, dim, context)
