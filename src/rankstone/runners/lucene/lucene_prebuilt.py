"""Pyserini's prebuilt indexes as methods: BM25 over words, and impacts of learned encoders."""

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
class LucenePrebuilt(Defaults):
    """BM25 over an index that pyserini offers by name, as its `LuceneSearcher` searches it.

    Texts of the collection are not read: what the index holds was analysed by its makers. Its
    documents are known by their ids; those that the collection does not have are left out of
    results, and both differences are counted in the record. Statistics of words are the index's.
    The formula is that of `lucene_flat`. Ties, also at rank k, go to the lower id in byte order.
    """

    requires: ClassVar[Mapping[str, str]] = LIBRARIES

    prebuilt: str
    """The name in pyserini's registry."""
    md5: str
    """The registry's digest of the archive."""
    k1: Annotated[float, Field(ge=0)] = 0.9
    b: Annotated[float, Field(ge=0, le=1)] = 0.4
    fields: dict[str, float] = Field(default_factory=lambda: {"contents": 1.0})
    """Field -> weight of its score."""
    language: str = "en"
    """Language of the query's analysis, as pyserini's `--language`."""
    separate_ties: bool = True
    """Lower each of several equal scores by the least that keeps them in order."""

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
        """The texts themselves: Lucene analyses queries, and documents are in the index."""
        return list(texts)

    def index(self, documents: Chunks[list[str]], context: Context) -> PrebuiltIndex:
        """Open the index and find its documents in the collection; `documents` is never read."""
        settings = PrebuiltSettings(
            name=self.prebuilt,
            folder=str(folder_of(self.prebuilt, self.md5)),
            separate_ties=self.separate_ties,
            threads=context.threads,
            k1=self.k1,
            b=self.b,
            fields=self.fields,
            language=self.language,
        )
        return PrebuiltIndex.open(settings, context.ids)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LucenePrebuiltImpact(ByMember):
    """Impacts of an index that pyserini offers by name, for queries of a sparse encoder here.

    The member encodes queries, with the vocabulary of the encoder that the index was made with;
    their weights times `query_scale` are rounded to whole numbers, as pyserini's query encoders do
    (256 levels from 0 to 5). The collection is neither read nor encoded. The score is that of
    `lucene_impact`; differences of the collections, and ties, are those of `lucene_prebuilt`.
    """

    requires: ClassVar[Mapping[str, str]] = LIBRARIES

    members: OneMember
    """The encoder of queries."""
    prebuilt: str
    """The name in pyserini's registry."""
    md5: str
    """The registry's digest of the archive."""
    query_scale: Annotated[float, Field(gt=0)] = 256 / 5
    separate_ties: bool = True
    """Lower each of several equal scores by the least that keeps them in order."""

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
        """Open the index and find its documents in the collection; `documents` is never read."""
        encoder: Any = self.members[0]
        settings = PrebuiltSettings(
            name=self.prebuilt,
            folder=str(folder_of(self.prebuilt, self.md5)),
            separate_ties=self.separate_ties,
            threads=context.threads,
            query_scale=self.query_scale,
        )
        return PrebuiltIndex.open(settings, context.ids, encoder.vocabulary("query"))
