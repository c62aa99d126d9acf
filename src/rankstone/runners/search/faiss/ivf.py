"""Approximate search by inverted lists of float vectors; the lists of other indexes too."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.runners.protocols import STRICT, Chunks, Context
from rankstone.runners.search.base import OverEncoder, capped
from rankstone.runners.search.faiss.faiss_index import (
    FaissIndex,
    filled,
    library,
    training_sample,
)

Lists = Annotated[int, Field(ge=1)] | Literal["auto"]
"""A number of lists, or "auto": four times the square root of the number of documents, but at
least 39 documents to a list, which is what faiss advises to train a centroid with."""

LIST_POINTS = 64
"""Training points per list: at millions of documents a sample is enough, and must fit in memory."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class InvertedFile(OverEncoder):
    """Inverted lists of float vectors (IVF-Flat), by faiss.

    Sivic and Zisserman: Video Google, ICCV 2003; Jégou, Douze, Schmid: Product quantization for
    nearest neighbor search, IEEE TPAMI 2011. Documents are clustered by spherical k-means; a search
    compares the query with the `n_lists` centroids, and then with the documents of the `n_probe`
    best of them: n_lists + n n_probe / n_lists inner products. Scores are exact, and with all lists
    the search is. Memory: n (4 dim + 8) + 4 dim n_lists bytes.

    Lists that hold fewer than k documents together leave pads. Ties: see `FaissIndex`.
    """

    DESCRIPTION: ClassVar[str] = "inverted lists of vectors, inner product, faiss"
    requires: ClassVar[Mapping[str, str]] = {"faiss": "ann"}

    n_lists: Lists = "auto"
    """Clusters of documents; "auto": 4 sqrt(n), with at least 39 documents each."""
    n_probe: Annotated[int, Field(ge=1)] = 16
    """Lists that a search reads."""

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


def n_lists_for(asked: Lists, n_documents: int) -> int:
    if asked == "auto":
        return max(1, min(round(4 * math.sqrt(n_documents)), n_documents // 39))
    return capped("n_lists", asked, n_documents, "there are no more documents")


def coarse_quantiser(dim: int) -> Any:
    """Index in which the centroids of the lists are looked up: exact, by inner product."""
    faiss = library()
    return faiss.IndexFlatIP(dim)


def prepare(ivf: Any, *, n_probe: int, seed: int) -> None:
    """Seed the clustering of an untrained `ivf`, and set how many lists a search reads."""
    ivf.cp.seed = seed
    ivf.cp.min_points_per_centroid = 1  # faiss would only print a warning
    ivf.nprobe = capped("n_probe", n_probe, ivf.nlist, "there are no more lists")
