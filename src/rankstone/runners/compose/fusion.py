"""Reciprocal-rank fusion of any runners."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.runners.compose.fusion_base import Fusion, load_all, save_all, summed
from rankstone.runners.protocols import (
    STRICT,
    AnyIndex,
    Chunks,
    Context,
    Hits,
    Json,
)  # fmt: skip
from rankstone.runners.representations.base import Composite


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ReciprocalRankFusion(Fusion):
    """score(d) = sum over members that retrieve d of 1 / (k + rank of d), ranks from 1.

    Cormack, Clarke, Buettcher: Reciprocal Rank Fusion outperforms Condorcet and individual Rank
    Learning Methods, SIGIR 2009. Ranks are the members' own, ties broken as each member breaks
    them. Ties of the fused score in float32, also across the cut, go to the lower position in the
    corpus.
    """

    k: Annotated[int, Field(ge=0)] = 60
    depth: Annotated[int, Field(ge=1)] | None = None
    """Documents that each member retrieves; None: as many as the fusion is asked for."""

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


class FusionIndex:
    """The members' indexes."""

    def __init__(self, indexes: tuple[AnyIndex, ...], *, k: int, depth: int | None) -> None:
        self._indexes = indexes
        self._k = k
        self._depth = depth

    def search(self, queries: Composite, k: int) -> Hits:
        depth = self._depth or k
        pairs = zip(self._indexes, queries.members, strict=True)
        found = [index.search(rep, depth) for index, rep in pairs]
        return fuse([hits.docs for hits in found], rank_constant=self._k, k=k)

    def save(self, folder: Path) -> None:
        kinds = save_all(folder, self._indexes)
        about = {"members": kinds, "k": self._k, "depth": self._depth}
        (folder / "fusion.json").write_text(json.dumps(about))

    @classmethod
    def load(cls, folder: Path) -> FusionIndex:
        about = json.loads((folder / "fusion.json").read_text())
        return cls(load_all(folder, about["members"]), k=about["k"], depth=about["depth"])

    def nbytes(self) -> int:
        return sum(index.nbytes() for index in self._indexes)


def fuse(
    rankings: Sequence[np.ndarray[Any, np.dtype[np.int64]]], *, rank_constant: int, k: int
) -> Hits:
    """Reciprocal-rank fusion of rankings of the same queries.

    Args:
        rankings: one (n_queries, depth) array of positions per member, -1 pads; depths may differ.
        rank_constant: the k of the formula.
        k: how many documents to return per query.
    """
    ranks = np.concatenate([np.arange(1, member.shape[1] + 1) for member in rankings])
    return summed(np.concatenate(rankings, axis=1), 1.0 / (rank_constant + ranks), k)
