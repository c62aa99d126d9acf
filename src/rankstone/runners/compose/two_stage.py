"""Retrieve with one method, re-score the best with another."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.runners.adapter_json import from_json, load_part, save_part, to_json
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
from rankstone.runners.representations.pieces import SavedTexts
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


class TwoStageIndex:
    """The first stage's index, the scorer, and the corpus texts."""

    def __init__(
        self,
        first: AnyIndex,
        scorer: Scorer,
        texts: Sequence[str],
        *,
        depth: int,
        context: Context | None = None,
    ) -> None:
        """`context`: charges the re-scoring to the phase `rerank`; a loaded index has none."""
        self._first = first
        self._scorer = scorer
        self._texts = texts
        self._depth = depth
        self._context = context

    def search(self, queries: Composite, k: int) -> Hits:
        reps, texts = queries.members
        found = self._first.search(reps, max(k, self._depth))
        if not found.docs[:, : self._depth].size:
            return Hits(found.docs[:, :k], found.scores[:, :k])
        pairs = int((found.docs[:, : self._depth] >= 0).sum())
        with self._context.phase("rerank", pairs) if self._context else contextlib.nullcontext():
            rows = [self._rescored(*row) for row in zip(texts, *found, strict=True)]
        docs, scores = (np.stack(column)[:, :k] for column in zip(*rows, strict=True))
        return Hits(docs, scores)

    def _rescored(
        self, query: str, docs: NDArray[np.int64], scores: NDArray[np.float32]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        n_found = int((docs >= 0).sum())
        texts = [self._texts[int(doc)] for doc in docs[: min(self._depth, n_found)]]
        if not texts:
            return docs, scores
        if self._context is not None:
            self._context.count_pairs(lambda: self._scorer.truncation(query, texts))
        given = checked(self._scorer.score(query, texts), len(texts), self._scorer)
        order = np.argsort(-given, kind="stable")
        tail = beneath(given.min(), scores[len(texts) : n_found])
        docs = np.concatenate([docs[order], docs[len(texts) :]])
        return docs, np.concatenate([given[order], tail, scores[n_found:]])

    def save(self, folder: Path) -> None:
        """The corpus texts are written too: searching needs them."""
        about = {
            "first": save_part(self._first, folder / "first"),
            "scorer": to_json(self._scorer),
            "depth": self._depth,
        }
        (folder / "two_stage.json").write_text(json.dumps(about))
        (folder / "texts").mkdir()
        SavedTexts.write(folder / "texts", self._texts)

    @classmethod
    def load(cls, folder: Path) -> TwoStageIndex:
        """The scorer is built anew; a ModelError if its model's files are gone or are others."""
        about = json.loads((folder / "two_stage.json").read_text())
        first = load_part(about["first"], folder / "first")
        scorer = from_json(about["scorer"])
        return cls(first, scorer, SavedTexts(folder / "texts"), depth=about["depth"])

    def nbytes(self) -> int:
        """Count the first stage: texts are read when asked for, and no model counts as index."""
        return self._first.nbytes()
