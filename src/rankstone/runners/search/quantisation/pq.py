"""Compressed search by product quantisation, trained by faiss."""

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
from rankstone.runners.search.quantisation.quantiser import (
    Subvectors,
    bits_for,
    check_subvectors,
    sample_size,
    trained,
)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ProductQuantisation(OverEncoder):
    """PQ, OPQ+PQ, IVF-PQ and OPQ+IVF-PQ, trained on the corpus's own vectors by faiss.

    Jégou, Douze, Schmid: Product quantization for nearest neighbor search, IEEE TPAMI 2011; Ge, He,
    Ke, Sun: Optimized product quantization, CVPR 2013. A vector is split into M parts, each
    replaced by the nearest of 2^bits centroids; with `rotate` it is first rotated by the orthogonal
    matrix that minimises the error. The query is not quantised (asymmetric distance): the score is
    the sum over parts of <q_m, c_m>, from a table of M 2^bits inner products, with M look-ups per
    document. With lists, the residual to the list's centroid is encoded, and only `n_probe` lists
    are read.

    Memory: n M bits / 8 bytes of codes, 4 dim 2^bits of centroids, 4 dim^2 of the rotation; with
    lists 8 n of ids and 4 dim n_lists more. Documents of equal code tie: see `FaissIndex`.
    """

    DESCRIPTION: ClassVar[str] = "product quantisation, asymmetric inner product, faiss"
    APPROXIMATES: ClassVar[bool] = True
    requires: ClassVar[Mapping[str, str]] = {"faiss": "ann"}

    subvectors: Subvectors
    """M, the number of parts of a vector, a divisor of the dimension. With 8 bits, M is the bytes
    per document."""
    bits: Annotated[int, Field(ge=1, le=12)] = 8
    """Bits per part."""
    rotate: bool = False
    """True: learn a rotation first (OPQ)."""
    n_lists: Lists | None = None
    """Number of inverted lists, or "auto" (4 sqrt(n)); None: exhaustive search."""
    n_probe: Annotated[int, Field(ge=1)] = 16
    """Number of lists read per search, with inverted lists."""

    def index_bytes(self, n: int, dim: int) -> int:
        bits = bits_for(self.bits, n)
        codes = n * -(-self.subvectors * bits // 8)
        lists = 0 if self.n_lists is None else n_lists_for(self.n_lists, n)
        ids = n * ID_BYTES if lists else 0
        rotation = 4 * dim * dim if self.rotate else 0
        return codes + ids + 4 * dim * ((1 << bits) + lists) + rotation

    def build(self, documents: Chunks[Any], context: Context) -> FaissIndex:
        bits = bits_for(self.bits, len(documents))
        n_lists = None if self.n_lists is None else n_lists_for(self.n_lists, len(documents))
        n_points = max(sample_size(bits), (n_lists or 0) * LIST_POINTS)
        sample = training_sample(documents, n_points, context.seed)
        check_subvectors(self.subvectors, sample.shape[1])
        index = self._untrained(sample.shape[1], bits, n_lists, context.seed)
        with context.phase("train", len(sample)):
            index = trained(index, sample, rotate=self.rotate, seed=context.seed)
        return filled(index, documents, context.work)

    def _untrained(self, dim: int, bits: int, n_lists: int | None, seed: int) -> Any:
        faiss = library()
        metric = faiss.METRIC_INNER_PRODUCT
        if n_lists is None:
            return faiss.IndexPQ(dim, self.subvectors, bits, metric)
        coarse = coarse_quantiser(dim)
        index = faiss.IndexIVFPQ(coarse, dim, n_lists, self.subvectors, bits, metric)
        prepare(index, n_probe=self.n_probe, seed=seed)
        return index
