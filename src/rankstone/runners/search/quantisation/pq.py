"""Compressed search by product quantisation, as faiss trains it."""

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
    replaced by the nearest of 2^bits centroids; with `rotate` it is rotated first by the orthogonal
    matrix that makes the error least. The query stays float (asymmetric distance): score = the sum
    over parts of <q_m, c_m>, read from a table of M 2^bits inner products, so M look-ups per
    document. With lists, the residual to the list's centroid is coded, and only `n_probe` lists are
    read.

    Memory: n M bits / 8 bytes of codes, 4 dim 2^bits of centroids, 4 dim^2 of the rotation; with
    lists 8 n of ids and 4 dim n_lists more. Documents of equal code tie: see `FaissIndex`.
    """

    DESCRIPTION: ClassVar[str] = "product quantisation, asymmetric inner product, faiss"
    APPROXIMATES: ClassVar[bool] = True
    requires: ClassVar[Mapping[str, str]] = {"faiss": "ann"}

    subvectors: Subvectors
    """M, the parts of a vector; it divides the dimension. At 8 bits, the bytes of a document."""
    bits: Annotated[int, Field(ge=1, le=12)] = 8
    """Bits of the code of one part."""
    rotate: bool = False
    """True learns a rotation first (OPQ)."""
    n_lists: Lists | None = None
    """Inverted lists, or "auto" (4 sqrt(n)); None: all codes are compared."""
    n_probe: Annotated[int, Field(ge=1)] = 16
    """Lists that a search reads, where there are any."""

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
