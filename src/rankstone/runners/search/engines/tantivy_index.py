"""tantivy: BM25 over an inverted index in a folder, inside this process."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic.dataclasses import dataclass

from rankstone.runners.protocols import STRICT, Chunks, Context, Defaults, Hits, Json, Role
from rankstone.runners.search.engines import folder as folders

TEXT, POSITION, ANALYSER, ABOUT = "text", "position", "rankstone", "engine.json"
LONGEST = 40
"""Bytes from which on tantivy's own analysers drop a word."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Tantivy(Defaults):
    """BM25 by tantivy, whose k1 = 1.2 and b = .75 cannot be set.

    Text is split at what is neither a letter nor a digit and lower-cased; lengths are rounded to
    one byte. A query is a bag of its words: nothing in it is read as an operator. Documents
    without a word of the query are no results. Ties go to the lower position; at rank k to the
    earlier segment. Queries are searched one by one, on one thread.
    """

    requires: ClassVar[Mapping[str, str]] = {"tantivy": "engines"}

    stopwords: Literal["english", "none"] = "english"
    stemmer: Literal["english", "none"] = "english"

    def describe(self) -> Mapping[str, Json]:
        return {
            "method": "BM25 (tantivy)", "k1": 1.2, "b": 0.75, "stopwords": self.stopwords,
            "stemmer": self.stemmer, "longest_word": LONGEST,
            "engine": f"tantivy {version('tantivy')}",
        }  # fmt: skip

    def encode(self, texts: Sequence[str], role: Role) -> list[str]:
        """Return the texts, which tantivy analyses; half of a surrogate pair is replaced."""
        return [text.encode(errors="replace").decode() for text in texts]

    def index(self, documents: Chunks[list[str]], context: Context) -> TantivyIndex:
        """Write an index into a folder of `context.work`, by one thread."""
        import tantivy

        index = TantivyIndex(folders.fresh(context.work, "tantivy"), self.stopwords, self.stemmer)
        writer, position = index.created().writer(num_threads=1), 0
        for piece in documents:
            for text in piece:
                document = tantivy.Document()
                document.add_text(TEXT, text)
                document.add_unsigned(POSITION, position)
                writer.add_document(document)
                position += 1
        writer.commit()
        writer.wait_merging_threads()
        return index


class TantivyIndex:
    """A folder of tantivy, and how it is asked."""

    def __init__(self, folder: Path, stopwords: str, stemmer: str) -> None:
        self._folder, self._about = folder, (stopwords, stemmer)
        self._analyser = _analyser(stopwords, stemmer)
        self._engine: Any = None

    def created(self) -> Any:
        """Return the engine of the folder, which is empty or holds an index."""
        import tantivy

        schema = tantivy.SchemaBuilder()
        schema.add_text_field(TEXT, tokenizer_name=ANALYSER, index_option="freq")
        schema.add_unsigned_field(POSITION, fast=True)
        engine = tantivy.Index(schema.build(), path=str(self._folder))
        engine.register_tokenizer(ANALYSER, self._analyser)
        return engine

    def search(self, queries: Sequence[str], k: int) -> Hits:
        if self._engine is None:
            self._engine = self.created()
        hits, searcher = Hits.empty(len(queries), k), self._engine.searcher()
        for row, text in enumerate(queries if k else ()):
            found = searcher.search(self._query(text), k, count=False).hits
            places = searcher.fast_field_values(POSITION, [address for _, address in found])
            docs = np.array(places, dtype=np.int64)
            scores = np.array([score for score, _ in found], dtype=np.float32)
            order = np.lexsort((docs, -scores))
            hits.docs[row, : len(order)], hits.scores[row, : len(order)] = (
                docs[order],
                scores[order],
            )
        return hits

    def _query(self, text: str) -> Any:
        from tantivy import Occur, Query

        schema = self._engine.schema
        words = self._analyser.analyze(text)
        terms = [Query.term_query(schema, TEXT, word, index_option="freq") for word in words]
        return Query.boolean_query([(Occur.Should, term) for term in terms])

    def save(self, folder: Path) -> None:
        (folder / ABOUT).write_text(json.dumps(self._about))
        folders.copied(self._folder, folder)

    @classmethod
    def load(cls, folder: Path) -> TantivyIndex:
        """Open the index; its folder is mapped where it is, and must stay."""
        return cls(folder / folders.FOLDER, *json.loads((folder / ABOUT).read_text()))

    def nbytes(self) -> int:
        """Return the bytes of the files, all of which are mapped."""
        return folders.size(self._folder)


def _analyser(stopwords: str, stemmer: str) -> Any:
    from tantivy import Filter, TextAnalyzerBuilder, Tokenizer

    built = TextAnalyzerBuilder(Tokenizer.simple()).filter(Filter.remove_long(LONGEST))
    built = built.filter(Filter.lowercase())
    if stopwords != "none":
        built = built.filter(Filter.stopword(stopwords))
    if stemmer != "none":
        built = built.filter(Filter.stemmer(stemmer))
    return built.build()
