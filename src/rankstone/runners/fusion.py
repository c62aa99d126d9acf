"""Reciprocal-rank fusion of any runners."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.runners.protocols import (
    STRICT,
    AnyIndex,
    Chunks,
    Context,
    Hits,
    Json,
    Role,
    Truncation,
)  # fmt: skip
from rankstone.runners.reps import Composite
from rankstone.runners.saved import class_of, name_of

BATCH = 512
"""Queries fused at once; bounds the memory of the grouping."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ReciprocalRankFusion:
    """score(d) = sum over members that retrieve d of 1 / (k + rank of d), ranks from 1.

    Cormack, Clarke, Buettcher: Reciprocal Rank Fusion outperforms Condorcet and individual Rank
    Learning Methods, SIGIR 2009. Ranks are the members' own, ties broken as each member breaks
    them. Ties of the fused score, also across the cut, go to the lower position in the corpus.
    """

    requires: ClassVar[Mapping[str, str]] = {}
    cacheable: ClassVar[bool] = False

    members: Annotated[tuple[Any, ...], Field(min_length=1)]
    """The runners to fuse."""
    k: Annotated[int, Field(ge=0)] = 60
    depth: Annotated[int, Field(ge=1)] | None = None
    """How many documents each member retrieves; None: as many as the fusion is asked for."""

    def describe(self) -> Mapping[str, Json]:
        return {
            "method": "reciprocal-rank fusion",
            "k": self.k,
            "depth": self.depth,
            "members": [member.describe() for member in self.members],
        }

    def encode(self, texts: Sequence[str], role: Role) -> Composite:
        return Composite(tuple(member.encode(texts, role) for member in self.members))

    def index(self, documents: Chunks[Composite], context: Context) -> FusionIndex:
        """Index each member over its own encoded corpus; `documents` is never read."""
        indexes = tuple(member.index(context.encoded(member), context) for member in self.members)
        return FusionIndex(indexes, k=self.k, depth=self.depth)

    def truncation(self, texts: Sequence[str], role: Role) -> Truncation | None:
        """The sum over the members that have a limit."""
        counts = [member.truncation(texts, role) for member in self.members]
        limited = [count for count in counts if count is not None]
        return Truncation(*map(sum, zip(*limited, strict=True))) if limited else None


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
        kinds = [name_of(type(index)) for index in self._indexes]
        about = {"members": kinds, "k": self._k, "depth": self._depth}
        (folder / "fusion.json").write_text(json.dumps(about))
        for number, index in enumerate(self._indexes):
            (folder / str(number)).mkdir()
            index.save(folder / str(number))

    @classmethod
    def load(cls, folder: Path) -> FusionIndex:
        about = json.loads((folder / "fusion.json").read_text())
        indexes = tuple(
            class_of(kind).load(folder / str(number))
            for number, kind in enumerate(about["members"])
        )
        return cls(indexes, k=about["k"], depth=about["depth"])

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
    gains = 1.0 / (rank_constant + ranks)
    together = np.concatenate(rankings, axis=1)
    docs = np.full((len(together), k), -1, dtype=np.int64)
    scores = np.full((len(together), k), -np.inf, dtype=np.float32)
    for start in range(0, len(together), BATCH):
        part = slice(start, start + BATCH)
        _fuse_batch(together[part], gains, docs[part], scores[part])
    return Hits(docs, scores)


def _fuse_batch(together: Any, gains: Any, docs: Any, scores: Any) -> None:
    """Write the fused rankings of a few queries into `docs` and `scores`."""
    n_docs = int(together.max(initial=-1)) + 1
    rows, columns = np.nonzero(together >= 0)
    keys = rows * n_docs + together[rows, columns]
    unique, group = np.unique(keys, return_inverse=True)
    # bincount adds in the order of the members: the same sum whatever else is in the batch.
    sums = np.bincount(group, weights=gains[columns], minlength=len(unique))
    row, doc = np.divmod(unique, max(n_docs, 1))
    order = np.lexsort((doc, -sums, row))
    starts = np.searchsorted(row, np.arange(len(together)))
    rank = np.arange(len(order)) - starts[row[order]]
    kept = rank < docs.shape[1]
    chosen, place = order[kept], rank[kept]
    docs[row[chosen], place] = doc[chosen]
    scores[row[chosen], place] = sums[chosen]
