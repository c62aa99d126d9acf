"""Retrieve with one method, re-score the best with another."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
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
    Scorer,
    Truncation,
)  # fmt: skip
from rankstone.runners.representations.base import Composite
from rankstone.runners.saved import SavedIndex
from rankstone.runners.scorers.contract import checked, require_scorer
from rankstone.runners.top_k import beneath


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TwoStage:
    """The member retrieves, the scorer re-scores its `depth` best, the others stay beneath.

    Re-scored documents carry the scorer's own scores; ties among them, also across the cut at k, go
    to the better place in the first stage. Every other document keeps its place of the first stage,
    beneath all re-scored ones: its score is the lowest re-scored one less a step (1, where float32
    can tell) for each time that the first stage's score falls on the way to it, so that what ties
    in the first stage ties still, and nothing else does. The documents found are therefore those
    of the first stage, and so is recall at any cut from `depth` on.

    A query's representation is that of the first stage, and its text.
    """

    requires: ClassVar[Mapping[str, str]] = {}
    cacheable: ClassVar[bool] = False

    members: Annotated[tuple[Any, ...], Field(min_length=1, max_length=1)]
    """The first stage."""
    scorer: Any
    depth: Annotated[int, Field(ge=1)] = 100
    """Documents of each query that are re-scored."""

    def __post_init__(self) -> None:
        require_scorer(self.scorer)

    @property
    def first(self) -> Any:
        return self.members[0]

    def describe(self) -> Mapping[str, Json]:
        return {
            "method": "retrieve and re-score",
            "depth": self.depth,
            "first": self.first.describe(),
            "scorer": self.scorer.describe(),
        }

    def encode(self, texts: Sequence[str], role: Role) -> Composite:
        return Composite((self.first.encode(texts, role), list(texts)))

    def index(self, documents: Chunks[Composite], context: Context) -> TwoStageIndex:
        """Index the first stage over its own encoded corpus; `documents` is never read."""
        with context.phase("load"):
            self.scorer.score("warm up", ["warm up"])  # loads the model
        first = self.first.index(context.encoded(self.first), context)
        return TwoStageIndex(first, self.scorer, context.texts, depth=self.depth, context=context)

    def truncation(self, texts: Sequence[str], role: Role) -> Truncation | None:
        """Report the first stage; the scorer's pairs are counted while they are searched."""
        counts: Truncation | None = self.first.truncation(texts, role)
        return counts


@dataclasses.dataclass(frozen=True, eq=False)
class TwoStageIndex(SavedIndex):
    """The first stage's index, the scorer, and the corpus texts."""

    first: AnyIndex
    scorer: Scorer
    texts: Sequence[str]
    depth: int
    context: Context | None = None
    """Charges the re-scoring to the phase `rerank`; a loaded index has none."""

    def search(self, queries: Composite, k: int) -> Hits:
        reps, texts = queries.members
        found = self.first.search(reps, max(k, self.depth))
        if not found.docs[:, : self.depth].size:
            return Hits(found.docs[:, :k], found.scores[:, :k])
        pairs = int((found.docs[:, : self.depth] >= 0).sum())
        with self.context.phase("rerank", pairs) if self.context else contextlib.nullcontext():
            rows = [self._rescored(*row) for row in zip(texts, *found, strict=True)]
        docs, scores = (np.stack(column)[:, :k] for column in zip(*rows, strict=True))
        return Hits(docs, scores)

    def _rescored(
        self, query: str, docs: NDArray[np.int64], scores: NDArray[np.float32]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        n_found = int((docs >= 0).sum())
        texts = [self.texts[int(doc)] for doc in docs[: min(self.depth, n_found)]]
        if not texts:
            return docs, scores
        if self.context is not None:
            self.context.count_pairs(lambda: self.scorer.truncation(query, texts))
        given = checked(self.scorer.score(query, texts), len(texts), self.scorer)
        order = np.argsort(-given, kind="stable")
        tail = beneath(given.min(), scores[len(texts) : n_found])
        docs = np.concatenate([docs[order], docs[len(texts) :]])
        return docs, np.concatenate([given[order], tail, scores[n_found:]])
