"""Retrieve with one encoder's index, re-score by another encoder's representations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.runners.members import ByMember, TwoMembers
from rankstone.runners.protocols import STRICT, AnyRunner, Chunks, Context, Json, Role
from rankstone.runners.representations.base import Composite
from rankstone.runners.search.hits import member_index
from rankstone.runners.search.rescoring import (
    FirstMemberIndex,
    RescoredIndex,
    ScoredRepresentations,
)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RescoredByEncoder(ByMember):
    """The first member retrieves; its `rescore` best are re-scored by the second's similarity.

    For example: a single vector per text, then exact MaxSim over token vectors, with `rescore`
    MaxSim computations per query, which are the items of the phase `rerank`. The set of documents
    is the first member's; ties and documents that are not re-scored are as in `RescoredIndex`.
    """

    members: TwoMembers
    """The first stage, and the encoder that re-scores."""
    rescore: Annotated[int, Field(ge=1)] = 100

    def describe(self) -> Mapping[str, Json]:
        first, second = (member.describe() for member in self.members)
        return {
            "method": "retrieve, re-score by representations",
            "rescore": self.rescore,
            "first": first,
            "second": second,
        }

    def encode(self, texts: Sequence[str], role: Role) -> Composite:
        return Composite(tuple(member.encode(texts, role) for member in self.members))

    def index(self, documents: Chunks[Composite], context: Context) -> RescoredIndex:
        """Index the members' own encoded corpora; `documents` is never read."""
        first, second = self.members
        found = FirstMemberIndex(member_index(first, context))
        kept = context.encoded(second)
        for _ in kept:  # encodes missing shards now, not during search
            pass
        return RescoredIndex(found, ScoredRepresentations(kept), self.rescore, context)

    def reader(self, role: Role) -> AnyRunner:
        """Return the second member, which determines the scores; both read the same texts."""
        return self.members[1]
