"""Reciprocal-rank fusion of any runners."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.runners.compose.fusion_base import Fusion, Ids, summed
from rankstone.runners.protocols import STRICT, AnyIndex, Chunks, Context, Hits, Json
from rankstone.runners.representations.base import Composite
from rankstone.runners.saved import SavedIndex


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ReciprocalRankFusion(Fusion):
    """score(d) = sum over members that retrieve d of 1 / (k + rank of d), ranks from 1.

    Cormack, Clarke, Buettcher: Reciprocal Rank Fusion outperforms Condorcet and individual Rank
    Learning Methods, SIGIR 2009. Ranks are the members' own, ties broken as each member breaks
    them. Ties of the fused score in float32, also at rank k, go to the lower position in the
    corpus.
    """

    k: Annotated[int, Field(ge=0)] = 60
    depth: Annotated[int, Field(ge=1)] | None = None
    """Documents that each member retrieves; None: the k of the search."""

    def describe(self) -> Mapping[str, Json]:
        return {
            "method": "reciprocal-rank fusion",
            "k": self.k,
            "depth": self.depth,
            "members": [member.describe() for member in self.members],
        }

    def index(self, documents: Chunks[Composite], context: Context) -> FusionIndex:
        """Index each member over its own encoded corpus; `documents` is never read."""
        return FusionIndex(self.indexes(context), k=self.k, depth=self.depth)


@dataclasses.dataclass(frozen=True, eq=False)
class FusionIndex(SavedIndex):
    """The members' indexes."""

    indexes: tuple[AnyIndex, ...]
    k: int
    depth: int | None

    def search(self, queries: Composite, k: int) -> Hits:
        depth = self.depth or k
        pairs = zip(self.indexes, queries.members, strict=True)
        found = [index.search(rep, depth) for index, rep in pairs]
        return fuse([hits.docs for hits in found], rank_constant=self.k, k=k)


def fuse(rankings: Sequence[Ids], *, rank_constant: int, k: int) -> Hits:
    """Reciprocal-rank fusion of rankings of the same queries.

    Args:
        rankings: one (n_queries, depth) array of positions per member, padded by -1; depths may
        differ. rank_constant: the k of the formula. k: documents to return per query.
    """
    ranks = np.concatenate([np.arange(1, member.shape[1] + 1) for member in rankings])
    return summed(np.concatenate(rankings, axis=1), 1.0 / (rank_constant + ranks), k)
