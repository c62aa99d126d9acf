"""Binary hashing: one bit per dimension, Hamming distance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.errors import DefinitionError
from rankstone.runners.protocols import STRICT, Chunks, Context
from rankstone.runners.search.base import OverEncoder
from rankstone.runners.search.binary.binariser import BinarisedIndex, Binariser, scaled
from rankstone.runners.search.binary.bit_planes import BitPlanes, Vectors
from rankstone.runners.search.binary.code_index import CodeIndex
from rankstone.runners.search.binary.layers import Layers
from rankstone.runners.search.binary.projections import at_medians, itq, plain
from rankstone.runners.search.faiss.faiss_index import training_sample


@dataclass(frozen=True, kw_only=True, config=STRICT)
class BinaryHash(OverEncoder):
    """Signs of the vectors' dimensions, or of projections, for documents and queries.

    The score is 1 - 2 h / bits with the Hamming distance h, which is the cosine of the two sign
    vectors. Ties, which are frequent, go to the lower position. See `CodeIndex` for the search and
    `rescore` for re-scoring the best results by float vectors.
    """

    DESCRIPTION: ClassVar[str] = "binary hash, Hamming distance"
    requires: ClassVar[Mapping[str, str]] = {"numba": "ann"}

    method: Literal["sign", "median", "itq"]
    """sign: of the value itself; median: of the value minus its median over documents; itq:
    iterative quantisation (Gong and Lazebnik, CVPR 2011), a rotation learned from documents."""
    bits: Annotated[int, Field(ge=1)] | None = None
    """Bits of a code; None: one per dimension. Otherwise the number of projections: for `itq` on
    principal directions, at most as many as dimensions; for the others on random ones."""
    centre: bool = True
    """True: centre `itq` on the documents' mean, as in its paper; False: on zero."""
    sample: Annotated[int, Field(ge=1)] = 20_000
    """Most documents used to learn medians and rotations."""

    def __post_init__(self) -> None:
        if not self.centre and self.method != "itq":
            raise DefinitionError(
                f"key 'parameters.centre': method {self.method!r} has no centre. Remove it."
            )

    def index_bytes(self, n: int, dim: int) -> int:
        bits = self.bits or dim
        learned = 4 * dim * bits if self.bits or self.method == "itq" else 0
        return CodeIndex.paper_bytes(n, BitPlanes(bits, 1)) + learned

    def build(self, documents: Chunks[Vectors], context: Context) -> BinarisedIndex:
        with context.phase("train"):
            vectors = scaled(training_sample(documents, self.sample, context.seed))
            binariser = Binariser(self._hash(vectors, context.seed))
        return BinarisedIndex.build(binariser, iter(documents), context.threads)

    def _hash(self, sample: Vectors, seed: int) -> Layers:
        dim = sample.shape[1]
        if self.method != "itq":
            projection = plain(dim, self.bits, seed)
            return projection if self.method == "sign" else at_medians(projection, sample)
        bits = dim if self.bits is None else self.bits
        if bits > dim:
            raise DefinitionError(
                f"key 'parameters.bits': {bits}, but vectors have {dim} principal directions."
                " Correct it."
            )
        return itq(sample, bits, centre=self.centre, seed=seed)
