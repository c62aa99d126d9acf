"""Approximate search by inverted lists of float vectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.runners.protocols import STRICT, Chunks, Context
from rankstone.runners.search.base import OverEncoder
from rankstone.runners.search.faiss.faiss_index import (
    ID_BYTES,
    FaissIndex,
    filled,
    library,
    training_sample,
)
from rankstone.runners.search.faiss.inverted_lists import (
    LIST_POINTS,
    Lists,
    coarse_quantiser,
    n_lists_for,
    prepare,
)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class InvertedFile(OverEncoder):
    """Inverted lists of float vectors (IVF-Flat), by faiss.

    Sivic and Zisserman: Video Google, ICCV 2003; Jégou, Douze, Schmid: Product quantization for
    nearest neighbor search, IEEE TPAMI 2011. Documents are clustered by spherical k-means; a search
    compares the query with the `n_lists` centroids, then with the documents of the `n_probe` best:
    n_lists + n n_probe / n_lists inner products. Scores are exact, and so is the search if all
    lists are read. Memory: n (4 dim + 8) + 4 dim n_lists bytes.

    Results are padded if the lists read hold fewer than k documents. Ties: see `FaissIndex`.
    """

    DESCRIPTION: ClassVar[str] = "inverted lists of vectors, inner product, faiss"
    APPROXIMATES: ClassVar[bool] = True
    requires: ClassVar[Mapping[str, str]] = {"faiss": "ann"}

    n_lists: Lists = "auto"
    """Clusters of documents; "auto": 4 sqrt(n), with at least 39 documents each."""
    n_probe: Annotated[int, Field(ge=1)] = 16
    """Number of lists read per search."""

    def index_bytes(self, n: int, dim: int) -> int:
        return n * (4 * dim + ID_BYTES) + 4 * dim * n_lists_for(self.n_lists, n)

    def build(self, documents: Chunks[Any], context: Context) -> FaissIndex:
        faiss = library()
        n_lists = n_lists_for(self.n_lists, len(documents))
        sample = training_sample(documents, n_lists * LIST_POINTS, context.seed)
        dim = sample.shape[1]
        metric = faiss.METRIC_INNER_PRODUCT
        index = faiss.IndexIVFFlat(coarse_quantiser(dim), dim, n_lists, metric)
        prepare(index, n_probe=self.n_probe, seed=context.seed)
        with context.phase("train", len(sample)):
            index.train(sample)
        return filled(index, documents, context.work)
