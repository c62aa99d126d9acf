"""MUVERA: multi-vector search by single-vector fixed dimensional encodings."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.runners.protocols import STRICT, AnyIndex, Chunks, Context, Hits
from rankstone.runners.representations.ragged import Ragged
from rankstone.runners.saved import SavedIndex
from rankstone.runners.search.exact.flat import ExactIndex, Mapped, written
from rankstone.runners.search.faiss.graph import WithGraph
from rankstone.runners.search.multi_vector.ball_carving import Carved
from rankstone.runners.search.multi_vector.fde import (
    FdeShape,
    FinalProjection,
    FixedDimensionalEncoder,
)
from rankstone.runners.search.multi_vector.token_vectors import Floats, float_tokens, parts
from rankstone.runners.search.quantisation.quantiser import pq_256_8
from rankstone.runners.search.rescoring import Scored, ScoredRepresentations

QUERY_BYTES = 256 * 2**20
"""Bytes of query encodings searched at once."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Muvera(WithGraph):
    """Fixed dimensional encodings of token vectors, by inner product (arXiv:2405.19504).

    See `FixedDimensionalEncoder` for the encoding and its cost. A document takes 4 F bytes for any
    number of tokens, with F = repetitions 2^simhash_bits inner_dim or `final_dim`, or F / 8 bytes
    with "pq". With `rescore = n` the n best are re-scored by exact MaxSim, as in the paper, where n
    is hundreds, F is 10,240, and a query's tokens are merged by ball carving.

    Ties are broken by faiss, deterministically. A document without tokens is never found, and a
    query without tokens finds nothing. A score may be rounded differently in a batch than for a
    single query.
    """

    DESCRIPTION: ClassVar[str] = "fixed dimensional encodings (MUVERA), inner product"
    requires: ClassVar[Mapping[str, str]] = {"faiss": "ann"}

    repetitions: Annotated[int, Field(ge=1)] = 20
    """R_reps of the paper."""
    simhash_bits: Annotated[int, Field(ge=0, le=16)] = 5
    """k_sim of the paper: each repetition has 2^simhash_bits blocks."""
    inner_dim: Annotated[int, Field(ge=1)] | None = 16
    """d_proj of the paper: dimensions that tokens are projected to; None: no projection."""
    final_dim: Annotated[int, Field(ge=1)] | None = None
    """d_final of the paper: dimensions that the concatenated blocks are projected to; None: no
    projection."""
    final_projection: FinalProjection = "signs"
    """Dense random signs, as in the paper's text, or a count sketch, as in the authors' code."""
    search: Literal["exact", "hnsw", "pq"] = "exact"
    """Search over encodings: exact in float32, an HNSW graph, or exhaustive over the paper's
    PQ-256-8 codes."""
    ball: float | None = None
    """tau of the paper (.7 there): for re-scoring, tokens of a query with at least this inner
    product are merged (see `carved`); None: no merging."""

    def rescorer(self, documents: Chunks[Ragged]) -> Scored:
        whole = ScoredRepresentations(documents)
        return whole if self.ball is None else Carved(whole, self.ball)

    def build(self, documents: Chunks[Ragged], context: Context) -> AnyIndex:
        dim = next((part.dim for _, part in parts(documents) if len(part.tokens)), 0)
        encoder = FixedDimensionalEncoder.draw(self._shape(dim), context.seed) if dim else None
        lengths = [np.empty(0, np.int64)]

        def encoded() -> Iterator[Floats]:
            for where, part in parts(documents):
                tokens = float_tokens(part, dim, where)
                lengths.append(part.lengths)
                if encoder is not None:
                    yield encoder.documents(tokens, part.lengths[part.lengths > 0])

        size = encoder.shape.fde_dim if encoder else 0
        vectors = self._searchable(written(encoded(), size, context.work), size, context)
        with_tokens = np.concatenate(lengths) > 0
        positions = None if with_tokens.all() else np.flatnonzero(with_tokens)
        return MuveraIndex(encoder, vectors, positions)

    def _shape(self, dim: int) -> FdeShape:
        return FdeShape(
            dim=dim,
            repetitions=self.repetitions,
            simhash_bits=self.simhash_bits,
            inner_dim=self.inner_dim or dim,
            final_dim=self.final_dim,
            final_projection=self.final_projection,
        )

    def _searchable(self, vectors: Mapped, size: int, context: Context) -> AnyIndex:
        if self.search == "exact" or not len(vectors):
            return ExactIndex.build(vectors)
        if self.search == "hnsw":
            return self.graph(vectors, size, context)
        return pq_256_8(vectors, size, context)


@dataclasses.dataclass(frozen=True, eq=False)
class MuveraIndex(SavedIndex):
    """Index of the documents' encodings, and the encoder of queries."""

    encoder: FixedDimensionalEncoder | None
    """None if no document has tokens."""
    vectors: AnyIndex
    positions: NDArray[np.int64] | None
    """Documents with tokens; None if all have tokens."""

    def search(self, queries: Ragged, k: int) -> Hits:
        hits = Hits.empty(len(queries), k)
        if self.encoder is None:
            return hits
        tokens = float_tokens(queries, self.encoder.shape.dim, "queries")
        asked = np.flatnonzero(queries.lengths)
        step = max(QUERY_BYTES // (4 * self.encoder.shape.fde_dim), 1)
        for rows in np.split(asked, range(step, len(asked), step)) if len(asked) else ():
            own = tokens[queries.offsets[rows[0]] : queries.offsets[rows[-1] + 1]]
            encodings = self.encoder.queries(own, queries.lengths[rows])
            hits.docs[rows], hits.scores[rows] = self.vectors.search(encodings, k)
        if self.positions is not None:
            hits.docs[:] = np.where(hits.docs >= 0, self.positions[hits.docs], -1)
        return hits
