"""Queries encoded by one method and documents by another, in one space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.errors import DefinitionError
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


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Asymmetric(Defaults):
    """The index of one dense method, asked by queries that another one encodes.

    MatFormer (Devvrit et al., NeurIPS 2024, arXiv:2310.07707) encodes the gallery by the largest
    model and queries by any of its sub-models, without another index; its claim is that the space
    of vectors stays the same. With a model that was not trained for it and an earlier `exit_layer`
    for queries, this is the control: the saving is the same, the space is not. With two checkpoints
    that share a space it is a method of its own.

    Documents are encoded as the first member does, in its shards; ties are the first member's.
    """

    members: Annotated[Members, Field(min_length=2, max_length=2)]
    """The documents' method, and the queries'."""

    def describe(self) -> Mapping[str, Json]:
        documents, queries = (member.describe() for member in self.members)
        return {"method": "asymmetric encoders", "documents": documents, "queries": queries}

    def encode(self, texts: Sequence[str], role: Role) -> Any:
        return self._member(role).encode(texts, role)

    def index(self, documents: Chunks[Any], context: Context) -> AnyIndex:
        """Over the first member's encoded corpus; `documents` is never read."""
        dims = [getattr(member.encode([""], "query"), "shape", ())[1:] for member in self.members]
        if dims[0] != dims[1] or not dims[0]:
            sizes = " and ".join(str(dim[0]) if dim else "none" for dim in dims)
            raise DefinitionError(
                f"key 'members': dimensions of documents and queries are {sizes}."
                " Name two dense methods whose vectors are comparable."
            )
        first = self._member("document")
        return first.index(context.encoded(first), context)

    def truncation(self, texts: Sequence[str], role: Role) -> Truncation | None:
        return self._member(role).truncation(texts, role)

    def _member(self, role: Role) -> AnyRunner:
        return self.members[0 if role == "document" else 1]
