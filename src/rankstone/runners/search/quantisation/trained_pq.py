"""Base of JPQ and RepCONC: the warm start, the training queries, and the resulting index."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.errors import DefinitionError, RankstoneWarning
from rankstone.runners.models import LocatedModel
from rankstone.runners.protocols import STRICT, AnyRunner, Chunks, Context, Json, Role
from rankstone.runners.search.base import OverEncoder
from rankstone.runners.search.exact.flat import Vectors
from rankstone.runners.search.faiss.faiss_index import FaissIndex, training_sample
from rankstone.runners.search.faiss.inverted_lists import Lists, n_lists_for
from rankstone.runners.search.quantisation.codebooks import Learnt, Options, train_jpq
from rankstone.runners.search.quantisation.learnt_centroids import Learnt as LearntCentroids
from rankstone.runners.search.quantisation.quantiser import (
    BYTE,
    CodedDocuments,
    Codes,
    Quantiser,
    Subvectors,
    assembled,
    bits_for,
    check_subvectors,
    encoded,
    lists_of,
    opq,
    sample_size,
)
from rankstone.runners.search.quantisation.training_queries import (
    MIN_QUERIES,
    TrainingQueries,
    judged_rows,
    training_queries,
)

Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TrainedQuantisation(OverEncoder):
    """Product quantisation with 8-bit codes and centroids trained on training queries."""

    requires: ClassVar[Mapping[str, str]] = {"faiss": "ann", "torch": "dense"}

    model: LocatedModel | None = None
    """Query encoder and centroids trained by a recipe; None: the member encodes queries, and the
    centroids are trained during indexing."""
    subvectors: Subvectors
    """M, the number of parts of a vector and bytes of a document, a divisor of the dimension."""
    epochs: Annotated[int, Field(ge=0)] = 40
    """Most epochs of training centroids with frozen codes; the best on held-out queries is kept,
    with early stopping after three epochs without improvement."""
    centroid_rate: Rate = 2e-4
    """Adam's learning rate for the centroids, for vectors of unit length."""
    query_rate: Rate | None = None
    """Adam's learning rate for a linear map of queries, initialised to the rotation; None: queries
    are only rotated."""
    n_lists: Lists | None = None
    """Number of inverted lists, or "auto" (4 sqrt(n)); None: exhaustive search."""
    n_probe: Annotated[int, Field(ge=1)] = 16
    """Number of lists read per search, with inverted lists."""

    def build(self, documents: Chunks[Any], context: Context) -> FaissIndex:
        with context.phase("train", len(documents)):
            start = self.start(documents, context.seed)
            learnt, codes = self._learn(start, documents, context)
        lists = centres = None
        if self.n_lists is not None:
            n_lists = n_lists_for(self.n_lists, len(documents))
            lists, centres = lists_of(start, documents, n_lists, context.seed)
        return assembled(
            learnt.quantiser,
            CodedDocuments(codes, lists, centres),
            context.work,
            query_transform=learnt.query_transform,
            n_probe=self.n_probe,
        )

    def describe(self) -> Mapping[str, Json]:
        described = dict(super().describe())
        return described if self.model is None else {**described, "query_model": self.model.id}

    def reader(self, role: Role) -> AnyRunner:
        return self._asking if role == "query" else self.encoder

    @cached_property
    def _asking(self) -> AnyRunner:
        """The member, with the trained query encoder if there is one."""
        if self.model is None:
            return self.encoder
        asking: Any = self.encoder
        return dataclasses.replace(asking, model=self.model)  # type: ignore[no-any-return]

    def start(self, documents: Chunks[Vectors], seed: int) -> Quantiser:
        """Return the initial quantiser of documents: OPQ of their vectors, or the one trained by a
        recipe."""
        if self.model is not None:
            return self._trained(self.model).coding
        bits = bits_for(BYTE, len(documents))
        sample = training_sample(documents, sample_size(bits), seed)
        check_subvectors(self.subvectors, sample.shape[1])
        return whole_bytes(opq(sample, subvectors=self.subvectors, bits=bits, seed=seed))

    def _trained(self, model: LocatedModel) -> LearntCentroids:
        found = LearntCentroids.load(model)
        n_parts = len(found.coding.centroids)
        if n_parts != self.subvectors:
            raise DefinitionError(
                f"key 'parameters.subvectors': {self.subvectors}, but the model '{model.id}' was"
                f" trained with {n_parts}. State subvectors = {n_parts}."
            )
        return found

    def _learn(
        self, start: Quantiser, documents: Chunks[Vectors], context: Context
    ) -> tuple[Learnt, Codes]:
        """Return centroids and codes of all documents; those of OPQ without training queries."""
        if self.model is not None:
            scoring = self._trained(self.model).scoring
            return Learnt(scoring, None, [], []), self.codes(start, documents)
        rows = judged_rows(context)
        if len(rows) < MIN_QUERIES:
            self._warn(len(rows))
            return Learnt(start, None, [], []), self.codes(start, documents)
        queries = training_queries(self.encoder, context, rows)
        learn, held_out = queries.split(context.seed)
        quantiser = self.clustered(start, documents, learn, held_out, context.seed)
        codes = self.codes(quantiser, documents)
        options = Options(self.epochs, self.centroid_rate, self.query_rate or 0.0, context.seed)
        return train_jpq(quantiser, codes, learn, held_out, options), codes

    def clustered(
        self,
        start: Quantiser,
        documents: Chunks[Vectors],
        learn: TrainingQueries,
        held_out: TrainingQueries,
        seed: int,
    ) -> Quantiser:
        """Return the quantiser whose codes are frozen afterwards; here that of OPQ."""
        return start

    def codes(self, quantiser: Quantiser, documents: Chunks[Vectors]) -> Codes:
        """Return the codes of all documents; here the nearest centroids."""
        return encoded(quantiser, documents)

    def _warn(self, n_queries: int) -> None:
        warnings.warn(
            f"{self.DESCRIPTION}: {n_queries} training queries with relevant documents are too few,"
            f" it takes {MIN_QUERIES}. Nothing was learnt from queries: the results are those of"
            " OPQ, the initial state. Use a task with a training split.",
            RankstoneWarning,
            stacklevel=2,
        )


def whole_bytes(quantiser: Quantiser) -> Quantiser:
    """Pad to 256 centroids per part by repeating them, if fewer were trained; copies are unused."""
    times = 2**BYTE // quantiser.centroids.shape[1]
    return quantiser._replace(centroids=np.tile(quantiser.centroids, (1, times, 1)))
