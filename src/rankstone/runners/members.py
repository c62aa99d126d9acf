"""Base of composed methods: the type of their field `members`, and forwarding to a member."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field, SkipValidation

from rankstone.runners.protocols import AnyRunner, Defaults, Role, Truncation

Members = tuple[SkipValidation[AnyRunner], ...]
OneMember = Annotated[Members, Field(min_length=1, max_length=1)]
TwoMembers = Annotated[Members, Field(min_length=2, max_length=2)]


class ByMember(Defaults):
    """Base of methods that delegate the encoding of each role to one of their members."""

    def reader(self, role: Role) -> AnyRunner:
        """Return the member that encodes the texts of `role` and counts their truncation."""
        raise NotImplementedError

    def encode(self, texts: Sequence[str], role: Role) -> Any:
        return self.reader(role).encode(texts, role)

    def truncation(self, texts: Sequence[str], role: Role) -> Truncation | None:
        return self.reader(role).truncation(texts, role)
