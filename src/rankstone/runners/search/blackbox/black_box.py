"""Black-box scores, from a scorer or from the similarity of an encoder's representations.

A black box maps a query and a document to a score that is not the inner product of two vectors.
There are two kinds: a `Scorer` over texts, such as a cross-encoder, and the similarity of an
encoder's own representations, such as MaxSim.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.errors import DefinitionError
from rankstone.runners.members import Members
from rankstone.runners.protocols import (
    STRICT,
    AnyIndex,
    Chunks,
    Context,
    Defaults,
    Json,
    Role,
    Truncation,
)
from rankstone.runners.representations.base import Composite
from rankstone.runners.representations.pieces import Positional
from rankstone.runners.saved import SavedIndex
from rankstone.runners.scorers.contract import checked, require_scorer, require_scores
from rankstone.runners.search.rescoring import Positions, Scored, ScoredRepresentations, Scores


@dataclasses.dataclass(frozen=True, eq=False)
class ScoredTexts(SavedIndex):
    """Texts scored by a scorer."""

    scorer: Any
    texts: Sequence[str]
    context: Context | None = None
    """Caches the scores for many queries, and counts truncated pairs."""

    @classmethod
    def of(cls, scorer: Any, context: Context) -> ScoredTexts:
        """Return the corpus's texts with `scorer`, whose model is loaded."""
        with context.phase("load"):
            scorer.score("warm up", ["warm up"])
        return cls(scorer, context.texts, context)

    def __len__(self) -> int:
        return len(self.texts)

    def scores(self, query: Any, positions: Positions) -> Scores:
        """Score documents for `query`: a text, or the last part of a composite representation."""
        (asked,) = query.members[-1] if isinstance(query, Composite) else query
        texts = [self.texts[int(position)] for position in positions]
        if not texts:
            return np.empty(0, dtype=np.float32)
        if self.context is not None:
            self.context.count_pairs(lambda: self.scorer.truncation(asked, texts))
        return checked(self.scorer.score(asked, texts), len(texts), self.scorer)

    def notes(self) -> list[str]:
        """Return the scorer's notes about its scores, for the record."""
        notes = getattr(self.scorer, "notes", None)
        return [str(note) for note in notes()] if callable(notes) else []

    def against(self, queries: Sequence[str]) -> Positional:
        """Return all documents' scores for `queries`, cached in shards to survive a killed run."""
        if self.context is None:
            raise TypeError("a loaded index has no corpus to score with further queries")
        runner: Any = ScoresWithQueries(members=(self.scorer,), queries=tuple(queries))
        return self.context.encoded(runner)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScoresWithQueries(Defaults):
    """Represents a text by its scores for given queries, so that these are cached in shards.

    Truncation is counted during search with test queries, not during indexing.
    """

    cacheable: ClassVar[bool] = True

    members: tuple[Any]
    """The scorer."""
    queries: tuple[str, ...]

    def describe(self) -> Mapping[str, Json]:
        digest = hashlib.sha256("\0".join(self.queries).encode("utf-8", "surrogatepass"))
        return {
            "scores_with": {"queries": len(self.queries), "sha256": digest.hexdigest()},
            "scorer": self.members[0].describe(),
        }

    def encode(self, texts: Sequence[str], role: Role) -> Scores:
        """Return (len(texts), len(queries)) scores."""
        scorer, scores = self.members[0], np.empty((len(texts), len(self.queries)), np.float32)
        for column, query in enumerate(self.queries if len(texts) else ()):
            scores[:, column] = checked(scorer.score(query, list(texts)), len(texts), scorer)
        return scores

    def index(self, documents: Chunks[Scores], context: Context) -> AnyIndex:
        raise NotImplementedError("these scores are not vectors to be searched")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class OverBlackBox(Defaults):
    """Base of methods over a black box: a table `scorer`, or an encoder as the only member.

    With a scorer, the representation of a text is the text.
    """

    DESCRIPTION: ClassVar[str]
    ONE_LIST: ClassVar[bool] = False
    """True if all scores of a query come from one list of candidates."""

    members: Annotated[Members, Field(max_length=1)] = ()
    """The encoder whose similarity is the black box."""
    scorer: Any = None

    def __post_init__(self) -> None:
        if bool(self.members) == (self.scorer is not None):
            raise DefinitionError(
                "key 'members': a black box is either a member or a table 'scorer'."
                " State one of both."
            )
        if self.scorer is not None:
            require_scorer(self.scorer)
            if not self.ONE_LIST:
                require_scores(self.scorer)

    def describe(self) -> Mapping[str, Json]:
        own = (field.name for field in dataclasses.fields(self))
        kept = [name for name in own if name not in ("members", "scorer")]
        index = {"method": self.DESCRIPTION, **{name: getattr(self, name) for name in kept}}
        if self.scorer is None:
            return {**self.members[0].describe(), "index": index}
        return {"scorer": self.scorer.describe(), "index": index}

    def encode(self, texts: Sequence[str], role: Role) -> Any:
        return list(texts) if self.scorer is not None else self.members[0].encode(texts, role)

    def truncation(self, texts: Sequence[str], role: Role) -> Truncation | None:
        """Count the encoder's truncation; a scorer's pairs are counted during search."""
        return None if self.scorer is not None else self.members[0].truncation(texts, role)

    def index(self, documents: Chunks[Any], context: Context) -> AnyIndex:
        """Index the texts, or the member's encoded corpus; `documents` is never read."""
        if self.scorer is None:
            return self.build(ScoredRepresentations(context.encoded(self.members[0])), context)
        return self.build(ScoredTexts.of(self.scorer, context), context)

    def build(self, scored: Scored, context: Context) -> AnyIndex:
        """Build the index over a scorable corpus."""
        raise NotImplementedError
