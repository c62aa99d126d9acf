"""Pyserini's prebuilt indexes as methods: BM25, and impacts of learned sparse encoders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.errors import DefinitionError
from rankstone.runners.lucene.jvm import engine
from rankstone.runners.lucene.prebuilt_indexes import LIBRARIES, folder_of
from rankstone.runners.lucene.prebuilt_search import PrebuiltIndex, PrebuiltSettings
from rankstone.runners.members import ByMember, OneMember
from rankstone.runners.protocols import (
    STRICT,
    AnyRunner,
    Chunks,
    Context,
    Defaults,
    Json,
    Role,
)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class OfPrebuilt(Defaults):
    """Base of methods that search one of pyserini's prebuilt indexes."""

    requires: ClassVar[Mapping[str, str]] = LIBRARIES

    prebuilt: str
    """Name in pyserini's registry."""
    md5: str
    """The registry's digest of the archive."""
    separate_ties: bool = True
    """Lower each of several equal scores by the least that keeps them in order."""

    def _settings(self, context: Context, **more: Any) -> PrebuiltSettings:
        return PrebuiltSettings(
            name=self.prebuilt,
            folder=str(folder_of(self.prebuilt, self.md5)),
            separate_ties=self.separate_ties,
            threads=context.threads,
            **more,
        )


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LucenePrebuilt(OfPrebuilt):
    """BM25 over one of pyserini's prebuilt indexes, searched as by its `LuceneSearcher`.

    The collection's texts are not read: the index was built from its makers' texts. Documents are
    matched by id. Those missing in the collection are left out of results; these and the
    collection's documents missing in the index are counted in the record. Term statistics are the
    index's. The formula is that of `lucene_flat`. Ties, also at rank k, go to the lower id in byte
    order.
    """

    k1: Annotated[float, Field(ge=0)] = 0.9
    b: Annotated[float, Field(ge=0, le=1)] = 0.4
    fields: dict[str, float] = Field(default_factory=lambda: {"contents": 1.0})
    """Field -> weight of the field's score."""
    language: str = "en"
    """Language for analysing queries, as pyserini's `--language`."""

    def describe(self) -> Mapping[str, Json]:
        return {
            "method": "BM25 (Lucene)",
            "index": {"prebuilt": self.prebuilt, "md5": self.md5},
            "k1": self.k1,
            "b": self.b,
            "weights": self.fields,
            "language": self.language,
            "separate_ties": self.separate_ties,
            "engine": engine(),
        }

    def encode(self, texts: Sequence[str], role: Role) -> list[str]:
        """Return the texts unchanged; Lucene analyses queries, and documents are in the index."""
        return list(texts)

    def index(self, documents: Chunks[list[str]], context: Context) -> PrebuiltIndex:
        """Open the index and match its documents with the collection; `documents` is never read."""
        words = {"k1": self.k1, "b": self.b, "fields": self.fields, "language": self.language}
        settings = self._settings(context, **words)
        return PrebuiltIndex.open(settings, context.ids)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LucenePrebuiltImpact(OfPrebuilt, ByMember):
    """One of pyserini's prebuilt impact indexes, searched with queries of a sparse encoder.

    The member encodes queries, and must have the vocabulary of the encoder that built the index;
    weights times `query_scale` are rounded to integers, as in pyserini's query encoders (256 levels
    from 0 to 5). The collection is neither read nor encoded. The score is that of `lucene_impact`;
    differences between the collections, and ties, are handled as in `lucene_prebuilt`.
    """

    members: OneMember
    """The query encoder."""
    query_scale: Annotated[float, Field(gt=0)] = 256 / 5

    def __post_init__(self) -> None:
        if not hasattr(self.members[0], "vocabulary"):
            raise DefinitionError(
                f"key 'members': a {type(self.members[0]).__name__} has no vocabulary of terms."
                " Name a learned sparse encoder, such as sparse/splade-v3."
            )

    def describe(self) -> Mapping[str, Json]:
        """Return the encoder's description, with this index instead of the encoder's own."""
        index: Mapping[str, Json] = {
            "method": "Lucene: inverted lists of whole impacts",
            "prebuilt": self.prebuilt,
            "md5": self.md5,
            "query_scale": self.query_scale,
            "separate_ties": self.separate_ties,
            "engine": engine(),
        }
        return {**self.members[0].describe(), "index": index}

    def reader(self, role: Role) -> AnyRunner:
        return self.members[0]

    def index(self, documents: Chunks[Any], context: Context) -> PrebuiltIndex:
        """Open the index and match its documents with the collection; `documents` is never read."""
        encoder: Any = self.members[0]
        settings = self._settings(context, query_scale=self.query_scale)
        return PrebuiltIndex.open(settings, context.ids, encoder.vocabulary("query"))
