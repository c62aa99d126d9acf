"""A search algorithm as a method: its encoder is a member, and only the index is its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.runners.document_length import Ruler, ruler
from rankstone.runners.protocols import (
    STRICT,
    AnyIndex,
    AnyRunner,
    Chunks,
    Context,
    Defaults,
    Json,
    Members,
    Role,
    Truncation,
)
from rankstone.runners.search.rescoring import RescoredIndex, ScoredRepresentations


@dataclass(frozen=True, kw_only=True, config=STRICT)
class OverEncoder(Defaults):
    """Base of all search algorithms: they encode as their member does, in its shards.

    Subclasses state their parameters as fields, `DESCRIPTION`, and `build`.
    """

    DESCRIPTION: ClassVar[str]

    members: Annotated[Members, Field(min_length=1, max_length=1)]
    """The encoder."""
    rescore: Annotated[int, Field(ge=1)] | None = None
    """Results that are scored again by the encoder's own representations, which stay on disk;
    the others keep their order beneath. None: nothing is scored again."""

    @property
    def encoder(self) -> AnyRunner:
        return self.members[0]

    def describe(self) -> Mapping[str, Json]:
        """The encoder's description, with this index in place of the encoder's own."""
        own = (field.name for field in dataclasses.fields(self) if field.name != "members")
        index = {"method": self.DESCRIPTION, **{name: getattr(self, name) for name in own}}
        return {**self.encoder.describe(), "index": index}

    def encode(self, texts: Sequence[str], role: Role) -> Any:
        return self.encoder.encode(texts, role)

    def truncation(self, texts: Sequence[str], role: Role) -> Truncation | None:
        return self.encoder.truncation(texts, role)

    def index(self, documents: Chunks[Any], context: Context) -> AnyIndex:
        """Over the encoder's own encoded corpus; `documents` is never read."""
        encoded = context.encoded(self.encoder)
        first = self.build(encoded, context)
        if self.rescore is None:
            return first
        return RescoredIndex(first, ScoredRepresentations(encoded), self.rescore, context)

    def build(self, documents: Chunks[Any], context: Context) -> AnyIndex:
        """The index over the encoder's representations, read in pieces."""
        raise NotImplementedError


@ruler.register
def _(runner: OverEncoder) -> Ruler:
    return ruler(runner.encoder)
