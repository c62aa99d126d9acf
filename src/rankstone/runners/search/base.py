"""Base of search algorithms: methods whose encoder is a member and which add an index."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.errors import RankstoneWarning
from rankstone.runners.document_length import Ruler, ruler
from rankstone.runners.members import ByMember, OneMember
from rankstone.runners.protocols import STRICT, AnyIndex, AnyRunner, Chunks, Context, Json, Role
from rankstone.runners.search.rescoring import RescoredIndex, Scored, ScoredRepresentations


@dataclass(frozen=True, kw_only=True, config=STRICT)
class OverEncoder(ByMember):
    """Base of all search algorithms, which encode with their member and share its shards.

    Subclasses define their parameters as fields, `DESCRIPTION`, and `build`.
    """

    DESCRIPTION: ClassVar[str]
    APPROXIMATES: ClassVar[bool] = False
    """True if the index approximates exact search by inner product."""

    members: OneMember
    """The encoder."""
    rescore: Annotated[int, Field(ge=1)] | None = None
    """Number of best results that are re-scored by the encoder's own representations, read from
    disk; the others follow in their order. None: no re-scoring."""

    @property
    def encoder(self) -> AnyRunner:
        return self.members[0]

    def describe(self) -> Mapping[str, Json]:
        """Return the encoder's description, with this index instead of the encoder's own."""
        fields = (field.name for field in dataclasses.fields(self))
        own = (name for name in fields if name not in ("members", "model"))
        index = {"method": self.DESCRIPTION, **{name: getattr(self, name) for name in own}}
        return {**self.encoder.describe(), "index": index}

    def reader(self, role: Role) -> AnyRunner:
        return self.encoder

    def index(self, documents: Chunks[Any], context: Context) -> AnyIndex:
        """Index the encoder's own encoded corpus; `documents` is never read."""
        encoded = context.encoded(self.encoder)
        first = self.build(encoded, context)
        if self.rescore is None:
            return first
        return RescoredIndex(first, self.rescorer(encoded), self.rescore, context)

    def rescorer(self, documents: Chunks[Any]) -> Scored:
        """Return the similarity that re-scores the best results."""
        return ScoredRepresentations(documents)

    def index_bytes(self, n: int, dim: int) -> int | None:
        """Return the bytes in memory of an index of `n` vectors of `dim` dimensions; None if they
        must be measured on a sample."""
        return None

    def build(self, documents: Chunks[Any], context: Context) -> AnyIndex:
        """Build the index over the encoder's representations, read in pieces."""
        raise NotImplementedError


def capped(name: str, asked: int, most: int, why: str) -> int:
    """Return `asked`, or `most` with a warning if that is smaller."""
    if asked <= most:
        return asked
    warnings.warn(
        f"parameter '{name}': asked for {asked}, took {most}: {why}.",
        RankstoneWarning,
        stacklevel=2,
    )
    return most


@ruler.register
def _(runner: OverEncoder) -> Ruler:
    return ruler(runner.encoder)
