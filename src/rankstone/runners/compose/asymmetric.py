"""Queries encoded by one method and documents by another, in one vector space."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic.dataclasses import dataclass

from rankstone.errors import DefinitionError
from rankstone.runners.members import ByMember, TwoMembers
from rankstone.runners.protocols import STRICT, AnyIndex, AnyRunner, Chunks, Context, Json, Role


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Asymmetric(ByMember):
    """Index of one dense method, searched with queries that another one encodes.

    MatFormer (Devvrit et al., NeurIPS 2024, arXiv:2310.07707) encodes documents with the largest
    model and queries with any of its sub-models, over the same index: all share one vector space.
    With a model that was not trained this way and an earlier `exit_layer` for queries, this adapter
    is the control experiment: equal savings without a shared space. With two checkpoints that share
    a space it is a method of its own.

    Documents are encoded by the first member, in its shards, and ties are broken as in its index.
    """

    members: TwoMembers
    """The method for documents, and the one for queries."""

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
