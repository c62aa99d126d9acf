"""Number of inverted lists of an index, and of those that a search reads."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field

from rankstone.runners.search.base import capped
from rankstone.runners.search.faiss.faiss_index import library

Lists = Annotated[int, Field(ge=1)] | Literal["auto"]
"""A number of lists, or "auto": four times the square root of the number of documents, but at
least 39 documents to a list, which is what faiss advises to train a centroid with."""

LIST_POINTS = 64
"""Training points per list: at millions of documents a sample is enough, and must fit in memory."""


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
