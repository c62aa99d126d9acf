"""Queries encoded by one method and documents by another, in one space."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic.dataclasses import dataclass

from rankstone.errors import DefinitionError
from rankstone.runners.members import ByMember, TwoMembers
from rankstone.runners.protocols import STRICT, AnyIndex, AnyRunner, Chunks, Context, Json, Role


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Asymmetric(ByMember):
    """The index of one dense method, asked by queries that another one encodes.

    MatFormer (Devvrit et al., NeurIPS 2024, arXiv:2310.07707) encodes the gallery by the largest
    model and queries by any of its sub-models, without another index; its claim is that the space
    of vectors stays the same. With a model that was not trained for it and an earlier `exit_layer`
    for queries, this is the control: the saving is the same, the space is not. With two checkpoints
    that share a space it is a method of its own.

    Documents are encoded as the first member does, in its shards; ties are the first member's.
    """

    members: TwoMembers
    """The documents' method, and the queries'."""

    def describe(self) -> Mapping[str, Json]:
        documents, queries = (member.describe() for member in self.members)
        return {"method": "asymmetric encoders", "documents": documents, "queries": queries}

    def index(self, documents: Chunks[Any], context: Context) -> AnyIndex:
        """Index the first member's encoded corpus; `documents` is never read."""
        dims = [getattr(member.encode([""], "query"), "shape", ())[1:] for member in self.members]
        if dims[0] != dims[1] or not dims[0]:
            sizes = " and ".join(str(dim[0]) if dim else "none" for dim in dims)
            raise DefinitionError(
                f"key 'members': dimensions of documents and queries are {sizes}."
                " Name two dense methods whose vectors are comparable."
            )
        first = self.members[0]
        return first.index(context.encoded(first), context)

    def reader(self, role: Role) -> AnyRunner:
        return self.members[0 if role == "document" else 1]
