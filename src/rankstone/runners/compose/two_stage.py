"""Retrieve with one method, re-score the best with another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.runners.members import ByMember, OneMember
from rankstone.runners.protocols import STRICT, AnyRunner, Chunks, Context, Json, Role
from rankstone.runners.representations.base import Composite
from rankstone.runners.scorers.contract import require_scorer
from rankstone.runners.search.blackbox.black_box import ScoredTexts
from rankstone.runners.search.rescoring import FirstMemberIndex, RescoredIndex


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TwoStage(ByMember):
    """The member retrieves, the scorer re-scores its `depth` best, the others stay beneath.

    Re-scored documents carry the scorer's own scores; ties among them, also at rank k, go
    to the better rank in the first stage. Every other document keeps its order of the first stage,
    beneath all re-scored ones: its score is the lowest re-scored one less a step (1, where float32
    can tell) for each time that the first stage's score falls on the way to it, so that what ties
    in the first stage ties still, and nothing else does. The documents found are therefore those
    of the first stage, and so is recall at any rank from `depth` on.

    A query's representation is that of the first stage, and its text.
    """

    members: OneMember
    """The first stage."""
    scorer: Any
    depth: Annotated[int, Field(ge=1)] = 100
    """Documents of each query that are re-scored."""

    def __post_init__(self) -> None:
        require_scorer(self.scorer)

    @property
    def first(self) -> AnyRunner:
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

    def index(self, documents: Chunks[Composite], context: Context) -> RescoredIndex:
        """Index the first stage over its own encoded corpus; `documents` is never read."""
        texts = ScoredTexts.of(self.scorer, context)
        first = FirstMemberIndex(self.first.index(context.encoded(self.first), context))
        return RescoredIndex(first, texts, self.depth, context)

    def reader(self, role: Role) -> AnyRunner:
        """Return the first stage; the scorer's pairs are counted while they are searched."""
        return self.first
