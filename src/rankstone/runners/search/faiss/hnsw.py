"""Approximate search by an HNSW graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic.dataclasses import dataclass

from rankstone.runners.protocols import STRICT, Chunks, Context
from rankstone.runners.search.faiss.faiss_index import FaissIndex, training_sample
from rankstone.runners.search.faiss.graph import WithGraph


@dataclass(frozen=True, kw_only=True, config=STRICT)
class HNSW(WithGraph):
    """Hierarchical navigable small world graph over float vectors, by faiss.

    Malkov and Yashunin: Efficient and robust approximate nearest neighbor search using Hierarchical
    Navigable Small World graphs, IEEE TPAMI 2020 (arXiv:1603.09320). A search descends the sparser
    levels greedily, then keeps the best `ef_search` candidates on the lowest: about O(m ef log n)
    inner products instead of n. Memory: slightly more than n (4 dim + 8 m + 12) bytes.

    A search uses max(ef_search, k): one for 1,000 documents is slower than one for 10, and finds
    more of the best 10. Ties: see `FaissIndex`.
    """

    DESCRIPTION: ClassVar[str] = "HNSW graph, inner product, faiss"
    APPROXIMATES: ClassVar[bool] = True
    requires: ClassVar[Mapping[str, str]] = {"faiss": "ann"}

    def index_bytes(self, n: int, dim: int) -> int:
        return self.graph_bytes(n, dim)

    def build(self, documents: Chunks[Any], context: Context) -> FaissIndex:
        dim = training_sample(documents, 1, context.seed).shape[1]
        return self.graph(documents, dim, context)
