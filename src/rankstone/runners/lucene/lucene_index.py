"""Lucene's inverted index in a folder: written from texts, searched with bags of words."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rankstone.errors import DefinitionError
from rankstone.runners.adapter_json import from_json, to_json
from rankstone.runners.lucene.jvm import detach, java, java_text, upcast
from rankstone.runners.protocols import Hits

CONTENTS, TITLE = "contents", "title"
"""Names of fields, as Anserini has them."""
BUFFER_MB = 64.0
"""Documents are written when so much is waiting in the machine's memory."""
ABOUT = "rankstone.json"
INDEX, SEARCH = "org.apache.lucene.index", "org.apache.lucene.search"
ANALYSER = "Anserini's DefaultEnglishAnalyzer: Lucene's English stop words, Porter's stemmer"


@dataclass(frozen=True, kw_only=True)
class Feedback:
    """Parameters of RM3, which expands a query."""

    terms: int
    documents: int
    original_weight: float


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Parameters of a search."""

    k1: float
    b: float
    weights: Mapping[str, float]
    """Field -> weight of its score."""
    feedback: Feedback | None = None
    separate_ties: bool = False
    threads: int = 1


class LuceneIndex:
    """A folder that Lucene maps into memory, and how it is searched.

    Documents are known by the order in which they were written: one thread writes them, and only
    neighbouring segments are merged. So ties, also at rank k, go to the lower position in
    the corpus, as Lucene's own order has it. Only documents with a word of the query are results.
    Threads search for a query each.
    """

    def __init__(self, folder: Path, settings: Settings) -> None:
        self._folder = folder
        self._settings = settings

    @classmethod
    def build(
        cls, documents: Iterable[Sequence[Mapping[str, str]]], folder: Path, settings: Settings
    ) -> LuceneIndex:
        """Write `documents`, pieces of fields with their texts, into the existing, empty `folder`.

        Memory is Lucene's buffer and one piece.
        """
        writer = _writer(folder, settings)
        fields = {name: _field(name, settings) for name in settings.weights}
        document = java("org.apache.lucene.document.Document")()
        for field in fields.values():
            document.add(field)
        for piece in documents:
            for texts in piece:
                for name, field in fields.items():
                    field.setStringValue(java_text(texts[name]))
                writer.addDocument(document)
        writer.forceMerge(1)
        writer.close()
        return cls(folder, settings)

    def search(self, queries: Sequence[str], k: int) -> Hits:
        hits = Hits.empty(len(queries), k)
        if not len(queries) or not k:
            return hits
        searcher = self._searcher

        def fill(rows: NDArray[np.int64], last: bool = True) -> None:
            try:
                for row in rows:
                    found = searcher.search(java_text(queries[row]), k)
                    hits.docs[row, : len(found)] = [hit["doc"] for hit in found]
                    scores = self._scores([hit["score"] for hit in found])
                    hits.scores[row, : len(found)] = scores
            finally:
                if last:
                    detach()

        parts = np.array_split(np.arange(len(queries)), min(self._settings.threads, len(queries)))
        if len(parts) == 1:
            fill(parts[0], last=False)
        else:
            with ThreadPoolExecutor(len(parts)) as pool:
                list(pool.map(fill, parts))
        return hits

    def _scores(self, given: list[float]) -> NDArray[np.float32]:
        scores = np.array(given, dtype=np.float32)
        return falling(scores) if self._settings.separate_ties else scores

    @cached_property
    def _searcher(self) -> _Searcher:
        return _Searcher(self._folder, self._settings)

    def save(self, folder: Path) -> None:
        for path in self._files():
            shutil.copyfile(path, folder / path.name)
        (folder / ABOUT).write_text(json.dumps(to_json(self._settings)))

    @classmethod
    def load(cls, folder: Path) -> LuceneIndex:
        """The folder is mapped where it is, and must stay."""
        settings = from_json(json.loads((folder / ABOUT).read_text()))
        return cls(folder, settings)

    def nbytes(self) -> int:
        """The files, all of which are mapped; the machine itself does not count as index."""
        return sum(path.stat().st_size for path in self._files())

    def _files(self) -> list[Path]:
        others = {ABOUT, "write.lock"}
        return sorted(path for path in self._folder.iterdir() if path.name not in others)


class _Searcher:
    """One query at a time; may be shared by threads."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        opened = java(f"{INDEX}.DirectoryReader").open(_directory(folder))
        kind = java(f"{SEARCH}.IndexSearcher")
        kind.setMaxClauseCount(2**31 - 1)  # queries may have any number of words
        self._searcher = kind(upcast(f"{INDEX}.IndexReader", opened))
        self._searcher.setSimilarity(_similarity(settings))
        self._analyser = _analyser()
        self._queries = java("io.anserini.search.query.BagOfWordsQueryGenerator")()
        self._json = java("com.fasterxml.jackson.databind.ObjectMapper")()
        self._fields = java("java.util.HashMap")()
        for name, weight in settings.weights.items():
            self._fields.put(name, java("java.lang.Float")(weight))
        self._expand = settings.feedback and _Rm3(self._searcher, self._analyser, settings.feedback)

    def search(self, text: str, k: int) -> list[dict[str, Any]]:
        """Best first: `doc`, the position, and `score`."""
        query = self._query(text)
        if self._expand:
            first = self._searcher.search(query, self._expand.feedback.documents)
            terms = self._expand.terms(first, query, text)
            query = self._queries.buildQuery(CONTENTS, terms)
        # Objects cross from Java one by one, at a price; a string crosses at once.
        top = self._searcher.search(query, k)
        found: list[dict[str, Any]] = json.loads(self._json.writeValueAsString(top))["scoreDocs"]
        return found

    def _query(self, text: str) -> Any:
        if self._fields.size() == 1:
            return self._queries.buildQuery(CONTENTS, self._analyser, text)
        return self._queries.buildQuery(self._fields, self._analyser, text)


class _Rm3:
    """Anserini's relevance model of the first documents found, mixed with the query."""

    def __init__(self, searcher: Any, analyser: Any, feedback: Feedback) -> None:
        self.feedback = feedback
        self._searcher, self._analyser = searcher, analyser
        self._analysis = java("io.anserini.analysis.AnalyzerUtils")
        self._found = java("io.anserini.search.ScoredDocs")
        self._context = java("io.anserini.rerank.RerankerContext")
        self._arguments = java("io.anserini.search.SearchCollection$Args")()
        self._arguments.hits = 1  # of its own search with the terms, which are not read
        self._model = java("io.anserini.rerank.lib.Rm3Reranker")(
            analyser, None, CONTENTS, feedback.terms, feedback.documents,
            feedback.original_weight, False, True,
        )  # fmt: skip

    def terms(self, first: Any, query: Any, text: str) -> Any:
        """Java's map of term -> weight."""
        words = self._analysis.analyze(self._analyser, text)
        context = self._context(
            self._searcher, None, query, None, text, words, None, self._arguments
        )
        self._model.rerank(self._found.fromTopDocs(first, self._searcher), context)
        return context.feedbackTerms


def _writer(folder: Path, settings: Settings) -> Any:
    configuration = java(f"{INDEX}.IndexWriterConfig")(_analyser())
    configuration.setSimilarity(_similarity(settings))
    # Keeps documents in order: only neighbours are merged.
    configuration.setMergePolicy(java(f"{INDEX}.LogByteSizeMergePolicy")())
    if settings.threads == 1:
        configuration.setMergeScheduler(java(f"{INDEX}.SerialMergeScheduler")())
    configuration.setRAMBufferSizeMB(BUFFER_MB)
    return java(f"{INDEX}.IndexWriter")(_directory(folder), configuration)


def _field(name: str, settings: Settings) -> Any:
    """A field for the writer, its text to be set; RM3 reads a document's terms from its vector."""
    kind = java("org.apache.lucene.document.FieldType")()
    kind.setIndexOptions(java(f"{INDEX}.IndexOptions").DOCS_AND_FREQS)
    kind.setStoreTermVectors(settings.feedback is not None)
    empty = upcast("java.lang.CharSequence", java("java.lang.String")(""))
    return java("org.apache.lucene.document.Field")(name, empty, kind)


def _similarity(settings: Settings) -> Any:
    return java(f"{SEARCH}.similarities.BM25Similarity")(settings.k1, settings.b)


def _analyser() -> Any:
    return java("io.anserini.analysis.DefaultEnglishAnalyzer").newDefaultInstance()


def _directory(folder: Path) -> Any:
    path = java("java.nio.file.Paths").get(str(folder))
    return java("org.apache.lucene.store.FSDirectory").open(path)


def falling(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Positive scores that descend, lowered by as little as lets each be below the one before."""
    # Positive floats are ordered as their bits are, and neighbours differ by one.
    steps = np.arange(len(scores), dtype=np.int64)
    bits = np.minimum.accumulate(scores.view(np.int32) + steps) - steps
    return bits.astype(np.int32).view(np.float32)


def parts(text: str, separator: str) -> Mapping[str, str]:
    """Title and text, which the first `separator` parts.

    Raises DefinitionError where there is none.
    """
    title, found, body = text.partition(separator)
    if not found:
        raise DefinitionError(
            "missing key 'text': documents come without a title of their own. Add it:"
            f" text = {json.dumps('{title}' + separator + '{text}')}"
        )
    return {TITLE: title, CONTENTS: body}
