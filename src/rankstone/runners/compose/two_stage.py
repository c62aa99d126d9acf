"""Retrieve with one method, re-score the best documents with a scorer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.runners.members import ByMember, OneMember
from rankstone.runners.protocols import STRICT, AnyRunner, Chunks, Context, Json, Role
from rankstone.runners.representations.base import Composite
from rankstone.runners.scorers.contract import require_any_order, require_scorer
from rankstone.runners.search.blackbox.black_box import ScoredTexts
from rankstone.runners.search.hits import member_index
from rankstone.runners.search.rescoring import FirstMemberIndex, RescoredIndex


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TwoStage(ByMember):
    """The member retrieves, the scorer re-scores its `depth` best; the others rank below these.

    Re-scored documents have the scorer's own scores; ties among them, also at rank k, go to the
    better rank in the first stage. All other documents follow in the order of the first stage: the
    score is the lowest re-scored one minus one step (1, or the next float32 step) for each distinct
    lower first-stage score, so that exactly the ties of the first stage remain ties. The set of
    documents is therefore that of the first stage, and so is recall at any rank from `depth` on.

    A query's representation is that of the first stage plus its text.
    """

    members: OneMember
    """The first stage."""
    scorer: Any
    depth: Annotated[int, Field(ge=1)] = 100
    """Documents per query that are re-scored."""

    def __post_init__(self) -> None:
        require_scorer(self.scorer)
        require_any_order(self.scorer)

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
        first = FirstMemberIndex(member_index(self.first, context))
        return RescoredIndex(first, texts, self.depth, context)

    def reader(self, role: Role) -> AnyRunner:
        """Return the first stage; truncation of the scorer's pairs is counted during search."""
        return self.first
