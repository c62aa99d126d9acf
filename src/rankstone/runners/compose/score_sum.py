"""Weighted sum of the members' own scores, with every candidate scored by every member."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.errors import DefinitionError
from rankstone.runners.compose.fusion_base import Fusion
from rankstone.runners.protocols import STRICT, AnyIndex, Chunks, Context, Hits, Json
from rankstone.runners.representations.base import Composite
from rankstone.runners.saved import SavedIndex
from rankstone.runners.search.hits import checked
from rankstone.runners.search.rescoring import ScoredRepresentations, reranking


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ScoreSum(Fusion):
    """score(d) = sum over members m of w_m * s_m(d), with the members' own scores s_m.

    Candidates are the `depth` best documents of each of the first `retrieving` members. Every
    member scores every candidate by its representations, including those that it did not retrieve:
    BGE-M3's hybrid search (arXiv:2402.03216). Scores are added without normalisation and should
    have the same scale.

    A missing score of a member counts as 0. Ties of the sum in float32, also at rank k, go to the
    lower position in the corpus.
    """

    weights: list[Annotated[float, Field(ge=0)]]
    """One for each member."""
    retrieving: Annotated[int, Field(ge=1)] | None = None
    """Number of members, from the first on, that retrieve candidates; None: all."""
    depth: Annotated[int, Field(ge=1)] = 1000

    def __post_init__(self) -> None:
        if len(self.weights) != len(self.members):
            raise DefinitionError(
                f"key 'parameters.weights': {len(self.weights)} weights for {len(self.members)}"
                " members. State one for each."
            )

    def describe(self) -> Mapping[str, Json]:
        return {
            "method": "weighted sum of scores",
            "weights": list(self.weights),
            "retrieving": self.retrieving,
            "depth": self.depth,
            "members": [member.describe() for member in self.members],
        }

    def index(self, documents: Chunks[Composite], context: Context) -> ScoreSumIndex:
        """Index the members' own encoded corpora; `documents` is never read."""
        encoded = [context.encoded(member) for member in self.members]
        for chunks in encoded:  # encodes missing shards now, not during search
            for _ in chunks:
                pass
        first = list(zip(self.members, encoded, strict=True))[: self.retrieving]
        return ScoreSumIndex(
            indexes=tuple(
                checked(member.index(chunks, context), chunks) for member, chunks in first
            ),
            scored=tuple(map(ScoredRepresentations, encoded)),
            weights=tuple(self.weights),
            depth=self.depth,
            context=context,
        )


@dataclasses.dataclass(frozen=True, eq=False)
class ScoreSumIndex(SavedIndex):
    """Indexes of the retrieving members, and the representations of all members."""

    indexes: tuple[AnyIndex, ...]
    scored: tuple[ScoredRepresentations, ...]
    weights: tuple[float, ...]
    depth: int
    context: Context | None = None
    """Charges scoring to the phase `rerank`; None in a loaded index."""

    def search(self, queries: Composite, k: int) -> Hits:
        pairs = zip(self.indexes, queries.members, strict=False)
        found = np.concatenate([index.search(rep, self.depth).docs for index, rep in pairs], axis=1)
        hits = Hits.empty(len(queries), k)
        for row, listed in enumerate(found):
            docs = np.unique(listed[listed >= 0])
            with reranking(self.context, len(docs) * len(self.scored)):
                sums = self._sums(queries[row : row + 1], docs)
            best = np.argsort(-sums, kind="stable")[:k]
            hits.docs[row, : len(best)], hits.scores[row, : len(best)] = docs[best], sums[best]
        return hits

    def _sums(self, query: Composite, docs: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the (len(docs),) weighted sums of all members' scores."""
        sums = np.zeros(len(docs))
        for scored, weight, rep in zip(self.scored, self.weights, query.members, strict=True):
            scores = scored.scores(rep, docs).astype(np.float64)
            sums += weight * np.where(np.isfinite(scores), scores, 0)
        return sums.astype(np.float32)
