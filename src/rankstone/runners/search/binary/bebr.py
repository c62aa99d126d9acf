"""BEBR: binary codes with several bits per dimension, by networks trained on the corpus."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.errors import DefinitionError
from rankstone.runners.members import TwoMembers
from rankstone.runners.protocols import STRICT, AnyIndex, AnyRunner, Chunks, Context, Json, Role
from rankstone.runners.search.base import OverEncoder
from rankstone.runners.search.binary.binariser import BinarisedIndex, Binariser
from rankstone.runners.search.binary.binariser_training import Positive, Recipe, trained, widened
from rankstone.runners.search.binary.bit_planes import MOST_LEVELS, BitPlanes, Vectors
from rankstone.runners.search.binary.code_index import CodeIndex
from rankstone.runners.search.binary.learners import (
    batch_normalised,
    content_thresholds,
    layered,
    thresholds,
)
from rankstone.runners.search.binary.projections import plain, residual_signs
from rankstone.runners.search.faiss.faiss_index import training_sample

Loops = Annotated[int, Field(ge=0, lt=MOST_LEVELS)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Bebr(Recipe, OverEncoder):
    """Recurrent binarisation of embeddings (Gan et al., KDD 2023, arXiv:2302.08714).

    See `Binariser` for the codes and `CodeIndex` for the symmetric distance. W, B_i and R_i are
    networks with one hidden layer. Without loops the method is a single-pass hash with the same
    network and training.

    Differences from the paper: a vector's positive is a noisy copy of it instead of a judged pair;
    and unless `batch_norm` is set, networks are initialised to the untrained form
    (`residual_signs`) instead of at random, without batch normalisation, because a corpus may have
    only thousands of vectors instead of millions.

    Search keeps m (u + 1) / 8 bytes per document, and the networks.
    """

    DESCRIPTION: ClassVar[str] = "recurrent binarisation, symmetric distance"
    requires: ClassVar[Mapping[str, str]] = {"torch": "dense", "numba": "ann"}

    dimensions: Positive | None = None
    """m, the dimensions of the code, along random directions; None: those of the encoder."""
    loops: Loops = 1
    """u: a code has u + 1 bits per dimension."""
    hidden: Positive = 1536
    """Units of a network's hidden layer; at least two per output are used."""
    batch_norm: bool = False
    """True: random initialisation with batch normalisation before the ReLU, as published; the index
    merges the normalisation into the first map."""

    def build(self, documents: Chunks[Vectors], context: Context) -> AnyIndex:
        with context.phase("train"):
            vectors = training_sample(documents, self.sample, context.seed)
            binariser = self.learnt(vectors, context.seed)
        return BinarisedIndex.build(binariser, iter(documents), context.threads)

    def learnt(self, vectors: Vectors, seed: int, targets: Vectors | None = None) -> Binariser:
        """Return networks trained on `vectors`, optionally towards old codes `targets`."""
        bits = self.dimensions if targets is None else targets.shape[1]
        start = residual_signs(vectors.shape[1], bits, self.loops, seed)
        wide = widened(start, self.hidden, seed)
        begin = batch_normalised if self.batch_norm else layered
        return trained(wide, vectors, self, seed, begin, targets)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CompatibleBebr(Bebr):
    """BEBR after a change of encoder: documents keep their codes, only queries use the new one.

    The first member's vectors are binarised as by `Bebr`. Query vectors of the second member, the
    new encoder, are binarised by networks trained to match the old codes of the same documents as
    well as their own (Gan et al., section 3.3). Only the training sample of the corpus is encoded
    again.
    """

    DESCRIPTION: ClassVar[str] = "recurrent binarisation, new queries for old codes"

    members: TwoMembers
    """The old encoder, and the new one."""

    def __post_init__(self) -> None:
        if self.rescore is not None:
            raise DefinitionError(
                "key 'parameters.rescore': vectors of two encoders are not compared. Remove it."
            )

    def describe(self) -> Mapping[str, Json]:
        return {**super().describe(), "query_encoder": self.members[1].describe()}

    def reader(self, role: Role) -> AnyRunner:
        return self.members[0 if role == "document" else 1]

    def build(self, documents: Chunks[Vectors], context: Context) -> AnyIndex:
        new_documents = context.encoded(self.members[1])
        with context.phase("train"):
            old_vectors = training_sample(documents, self.sample, context.seed)
            old = self.learnt(old_vectors, context.seed)
            vectors = training_sample(new_documents, self.sample, context.seed)
            new = self.learnt(vectors, context.seed, old.planes.decode(old(old_vectors)))
        codes = BinarisedIndex.build(old, iter(documents), context.threads).codes
        return BinarisedIndex(new, codes)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LearnedThresholds(Recipe, OverEncoder):
    """Binary hash sign(x - t) with learned thresholds t, one per bit.

    They start at zero and minimise the contrastive loss of BEBR (see `trained`) between thresholded
    codes. Nothing else is learned.
    """

    DESCRIPTION: ClassVar[str] = "binary hash with learned thresholds, Hamming distance"
    requires: ClassVar[Mapping[str, str]] = {"torch": "dense", "numba": "ann"}

    bits: Positive | None = None
    """Bits of a code, along random directions; None: one per dimension."""

    def build(self, documents: Chunks[Vectors], context: Context) -> BinarisedIndex:
        with context.phase("train"):
            vectors = training_sample(documents, self.sample, context.seed)
            start = Binariser(plain(vectors.shape[1], self.bits, context.seed))
            binariser = trained(start, vectors, self, context.seed, thresholds)
        return BinarisedIndex.build(binariser, iter(documents), context.threads)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ContentThresholds(Recipe, OverEncoder):
    """Binary hash whose thresholds depend on the vector: sign(x - t(x)).

    The dynamic sign function of CSCE-Net, adapted to text: t is computed from the vector instead of
    an image's features, by a network with one hidden layer. It is initialised to zero and minimises
    the contrastive loss of BEBR (see `trained`); nothing else is learned.
    """

    DESCRIPTION: ClassVar[str] = "binary hash with thresholds by content, Hamming distance"
    requires: ClassVar[Mapping[str, str]] = {"torch": "dense", "numba": "ann"}

    bits: Positive | None = None
    """Bits of a code, along random directions; None: one per dimension."""
    hidden: Positive = 256
    """Units of the network's hidden layer."""

    def build(self, documents: Chunks[Vectors], context: Context) -> BinarisedIndex:
        with context.phase("train"):
            vectors = training_sample(documents, self.sample, context.seed)
            start = Binariser(plain(vectors.shape[1], self.bits, context.seed))
            begin = content_thresholds(self.hidden)
            binariser = trained(start, vectors, self, context.seed, begin)
        return BinarisedIndex.build(binariser, iter(documents), context.threads)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ResidualSigns(OverEncoder):
    """BEBR's codes without networks: signs, and signs of the residuals (`residual_signs`).

    Nothing is learned, so codes do not depend on the corpus. Not a method of the paper.
    """

    DESCRIPTION: ClassVar[str] = "signs and residual signs, untrained, symmetric distance"
    requires: ClassVar[Mapping[str, str]] = {"numba": "ann"}

    dimensions: Positive | None = None
    """m, the dimensions of the code, along random directions; None: those of the encoder."""
    loops: Loops = 1
    """u: a code has u + 1 bits per dimension."""

    def index_bytes(self, n: int, dim: int) -> int:
        projection = 4 * dim * self.dimensions if self.dimensions else 0
        planes = BitPlanes(self.dimensions or dim, self.loops + 1)
        return CodeIndex.paper_bytes(n, planes) + projection

    def build(self, documents: Chunks[Vectors], context: Context) -> BinarisedIndex:
        dim = training_sample(documents, 1, context.seed).shape[1]
        binariser = residual_signs(dim, self.dimensions, self.loops, context.seed)
        return BinarisedIndex.build(binariser, iter(documents), context.threads)
