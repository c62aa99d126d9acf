"""Lucene's inverted index of words: built from texts, searched with bags of words."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rankstone.errors import DefinitionError
from rankstone.runners.lucene.folder_index import (
    SEARCH,
    FolderIndex,
    Searcher,
    Top,
    closed,
    falling,
    frequencies,
    opened_writer,
)
from rankstone.runners.lucene.jvm import java, java_text, upcast

CONTENTS, TITLE = "contents", "title"
"""Names of fields, as in Anserini."""
ANALYSER = "Anserini's DefaultEnglishAnalyzer: Lucene's English stop words, Porter's stemmer"


@dataclass(frozen=True, kw_only=True)
class Feedback:
    """Parameters of RM3 query expansion."""

    terms: int
    documents: int
    original_weight: float


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Parameters of a search."""

    k1: float
    b: float
    weights: Mapping[str, float]
    """Field -> weight of the field's score."""
    feedback: Feedback | None = None
    separate_ties: bool = False
    threads: int = 1


class LuceneIndex(FolderIndex):
    """BM25 over fields of words.

    Documents are numbered in the order of writing, so ties, which Lucene breaks by number, go to
    the lower position in the corpus, also at rank k. Only documents with a word of the query are
    returned.
    """

    @classmethod
    def build(
        cls, documents: Iterable[Sequence[Mapping[str, str]]], folder: Path, settings: Settings
    ) -> LuceneIndex:
        """Write `documents`, pieces of fields with their texts, into the existing, empty `folder`.

        Memory is Lucene's buffer and one piece.
        """
        writer = opened_writer(folder, bm25(settings), settings.threads, english())
        fields = {name: _field(name, settings) for name in settings.weights}
        document = java("org.apache.lucene.document.Document")()
        for field in fields.values():
            document.add(field)
        for piece in documents:
            for texts in piece:
                for name, field in fields.items():
                    field.setStringValue(java_text(texts[name]))
                writer.addDocument(document)
        closed(writer)
        return cls(folder, settings)

    def _top(self, searcher: _Words, query: str, k: int) -> Top:
        docs, scores = searcher.best(query, k)
        return Top(docs, falling(scores) if self._settings.separate_ties else scores)

    @cached_property
    def _searcher(self) -> _Words:
        return _Words(self._folder, self._settings)


class WordQueries:
    """Lucene queries of the words of a text, split by an analyser."""

    def __init__(self, weights: Mapping[str, float], analyser: Any) -> None:
        self.analyser = analyser
        self.generator = java("io.anserini.search.query.BagOfWordsQueryGenerator")()
        self._fields = java("java.util.HashMap")()
        for name, weight in weights.items():
            self._fields.put(name, java("java.lang.Float")(weight))
        self._only = next(iter(weights)) if len(weights) == 1 else None

    def query(self, text: str) -> Any:
        return self.generator.buildQuery(self._only or self._fields, self.analyser, java_text(text))


class _Words:
    """Search with one query at a time; thread-safe."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self._searcher = Searcher(folder, bm25(settings))
        self._queries = WordQueries(settings.weights, english())
        self._expand = settings.feedback and _Rm3(
            self._searcher.java, self._queries.analyser, settings.feedback
        )

    def best(self, text: str, k: int) -> Top:
        query = self._queries.query(text)
        if self._expand:
            first = self._searcher.java.search(query, self._expand.feedback.documents)
            terms = self._expand.terms(first, query, java_text(text))
            query = self._queries.generator.buildQuery(CONTENTS, terms)
        return self._searcher.best(query, k)


class _Rm3:
    """Anserini's relevance model of the first hits, interpolated with the query."""

    def __init__(self, searcher: Any, analyser: Any, feedback: Feedback) -> None:
        self.feedback = feedback
        self._searcher, self._analyser = searcher, analyser
        self._analysis = java("io.anserini.analysis.AnalyzerUtils")
        self._found = java("io.anserini.search.ScoredDocs")
        self._context = java("io.anserini.rerank.RerankerContext")
        self._arguments = java("io.anserini.search.SearchCollection$Args")()
        self._arguments.hits = 1  # its own search's hits are not used
        self._model = java("io.anserini.rerank.lib.Rm3Reranker")(
            analyser, None, CONTENTS, feedback.terms, feedback.documents,
            feedback.original_weight, False, True,
        )  # fmt: skip

    def terms(self, first: Any, query: Any, text: str) -> Any:
        """Return Java's map of term -> weight."""
        words = self._analysis.analyze(self._analyser, text)
        context = self._context(
            self._searcher, None, query, None, text, words, None, self._arguments
        )
        self._model.rerank(self._found.fromTopDocs(first, self._searcher), context)
        return context.feedbackTerms


def _field(name: str, settings: Settings) -> Any:
    """Return an empty field for the writer, with term vectors if RM3 needs them."""
    kind = frequencies()
    kind.setStoreTermVectors(settings.feedback is not None)
    empty = upcast("java.lang.CharSequence", java("java.lang.String")(""))
    return java("org.apache.lucene.document.Field")(name, empty, kind)


def bm25(settings: Any) -> Any:
    """Return Lucene's BM25 with the parameters `k1` and `b` of the settings."""
    return java(f"{SEARCH}.similarities.BM25Similarity")(settings.k1, settings.b)


def english() -> Any:
    return java("io.anserini.analysis.DefaultEnglishAnalyzer").newDefaultInstance()


def parts(text: str, separator: str) -> Mapping[str, str]:
    """Split `text` at the first `separator` into title and text.

    Raises DefinitionError if there is none.
    """
    title, found, body = text.partition(separator)
    if not found:
        raise DefinitionError(
            "missing key 'text': documents come without a title of their own. Add it:"
            f" text = {json.dumps('{title}' + separator + '{text}')}"
        )
    return {TITLE: title, CONTENTS: body}
