"""Number of inverted lists in an index, and of lists read per search."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field

from rankstone.runners.search.base import capped
from rankstone.runners.search.faiss.faiss_index import library

Lists = Annotated[int, Field(ge=1)] | Literal["auto"]
"""Number of lists, or "auto": four times the square root of the number of documents, but at least
39 documents per list, faiss's recommendation for training a centroid."""

LIST_POINTS = 64
"""Training points per list: with millions of documents a sample suffices, and must fit in
memory."""


def n_lists_for(asked: Lists, n_documents: int) -> int:
    if asked == "auto":
        return max(1, min(round(4 * math.sqrt(n_documents)), n_documents // 39))
    return capped("n_lists", asked, n_documents, "there are no more documents")


def coarse_quantiser(dim: int) -> Any:
    """Return the index of the lists' centroids: exact, by inner product."""
    faiss = library()
    return faiss.IndexFlatIP(dim)


def prepare(ivf: Any, *, n_probe: int, seed: int) -> None:
    """Seed the clustering of an untrained `ivf`, and set the number of lists read per search."""
    ivf.cp.seed = seed
    ivf.cp.min_points_per_centroid = 1  # suppresses faiss's warning
    ivf.nprobe = capped("n_probe", n_probe, ivf.nlist, "there are no more lists")
