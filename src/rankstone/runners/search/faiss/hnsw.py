"""Approximate search by a navigable graph."""

from __future__ import annotations

from collections.abc import Mapping
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
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, config=STRICT)
class HNSW(OverEncoder):
    """Hierarchical navigable small world graph over float vectors, by faiss.

    Malkov and Yashunin: Efficient and robust approximate nearest neighbor search using Hierarchical
    Navigable Small World graphs, IEEE TPAMI 2020 (arXiv:1603.09320). A search descends the sparser
    levels greedily, then keeps the best `ef_search` candidates of the lowest: about
    O(m ef log n) inner products instead of n. Memory: n (4 dim + 8 m + 12) bytes and a little.

    It is built by one thread, since by several the graph differs from run to run. faiss takes
    max(ef_search, k) for `ef_search`: a search for 1,000 documents is slower and finds more of the
    best 10 than a search for 10. Ties: see `FaissIndex`.
    """

    DESCRIPTION: ClassVar[str] = "HNSW graph, inner product, faiss"
    requires: ClassVar[Mapping[str, str]] = {"faiss": "ann"}

    m: Annotated[int, Field(ge=2)] = 32
    """Neighbours of a document on the upper levels; twice as many on the lowest."""
    ef_construction: Annotated[int, Field(ge=1)] = 200
    """Candidates kept while a document looks for its neighbours."""
    ef_search: Annotated[int, Field(ge=1)] = 128
    """Candidates kept while a query looks for its documents."""

    def build(self, documents: Chunks[Any], context: Context) -> FaissIndex:
        faiss = library()

        dim = training_sample(documents, 1, context.seed).shape[1]
        index = faiss.IndexHNSWFlat(dim, self.m, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.rng = faiss.RandomGenerator(context.seed)
        index.hnsw.efConstruction = self.ef_construction
        index.hnsw.efSearch = self.ef_search
        vectors: Chunks[Vectors] = documents
        with one_thread():
            return filled(index, vectors, context.work)
