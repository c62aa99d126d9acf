"""tantivy: BM25 over an inverted index in a folder, in this process."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic.dataclasses import dataclass

from rankstone.arrays import Ints
from rankstone.predicates import Joined, Predicate, Where, kind_of
from rankstone.runners.protocols import STRICT, Chunks, Context, Defaults, Hits, Json, Role
from rankstone.runners.search.engines import folder as folders
from rankstone.runners.search.engines.engine import by_score, one_by_one, values
from rankstone.runners.search.exact.flat import padded

TEXT, POSITION, ANALYSER, ABOUT = "text", "position", "rankstone", "engine.json"
OWN = "own_"
"""Prefix of fields used by filters."""
KINDS = {bool: "boolean", int: "float", float: "float", str: "text"}
"""Field type by the type of the values."""
LIMITS = {
    "==": ("closed", "closed"), "<": ("", "open"), "<=": ("", "closed"), ">": ("open", ""),
    ">=": ("closed", ""),
}  # fmt: skip
"""Lower and upper bound of the values that pass a comparison."""
LONGEST = 40
"""Length in bytes from which tantivy's own analysers drop a word."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Tantivy(Defaults):
    """BM25 by tantivy, with its fixed k1 = 1.2 and b = .75.

    Text is split at characters other than letters and digits, and lower-cased; lengths are rounded
    to one byte. A query is a bag of words without operators. Only documents with a word of the
    query are returned. Ties go to the lower position; at rank k to the earlier segment. Queries are
    searched one by one, on one thread.
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
        """Return the texts, which tantivy analyses, with lone surrogates replaced."""
        return [text.encode(errors="replace").decode() for text in texts]

    def index(self, documents: Chunks[list[str]], context: Context) -> TantivyIndex:
        """Write an index into a folder of `context.work`, with one thread."""
        folder, columns = folders.fresh(context.work, "tantivy"), context.columns
        kinds = {name: KINDS[kind_of(column)] for name, column in columns.items()}
        index = TantivyIndex(folder, self.stopwords, self.stemmer, kinds)
        writer, position = index.created().writer(num_threads=1), 0
        for piece in documents:
            positions = np.arange(position, position + len(piece))
            for row in zip(positions.tolist(), piece, values(columns, positions), strict=True):
                writer.add_document(index.document(*row))
            position += len(piece)
        writer.commit()
        writer.wait_merging_threads()
        return index


class TantivyIndex:
    """A tantivy index in a folder, and its search settings.

    A filter is a clause that every result must match and that does not change its score. Every
    update is committed. Deleted documents count in BM25's statistics until their segment is merged.
    """

    filtering: ClassVar[Literal["native"]] = "native"

    def __init__(
        self, folder: Path, stopwords: str, stemmer: str, kinds: Mapping[str, str]
    ) -> None:
        self._folder, self._about = folder, (stopwords, stemmer, dict(kinds))
        self._analyser, self._kinds = _analyser(stopwords, stemmer), kinds
        self._engine: Any = None
        self._writer: Any = None

    def created(self) -> Any:
        """Return the engine of the folder, which is empty or has an index."""
        import tantivy

        schema = tantivy.SchemaBuilder()
        schema.add_text_field(TEXT, tokenizer_name=ANALYSER, index_option="freq")
        schema.add_unsigned_field(POSITION, fast=True)
        raw = {"tokenizer_name": "raw", "index_option": "basic"}
        for name, kind in self._kinds.items():
            how = raw if kind == "text" else {"indexed": True}
            getattr(schema, f"add_{kind}_field")(f"{OWN}{name}", fast=True, **how)
        engine = tantivy.Index(schema.build(), path=str(self._folder))
        engine.register_tokenizer(ANALYSER, self._analyser)
        return engine

    def document(self, key: int, text: str, own: Mapping[str, Any]) -> Any:
        """Return a document of the engine."""
        import tantivy

        made = tantivy.Document()
        made.add_text(TEXT, text)
        made.add_unsigned(POSITION, key)
        for name, value in own.items():
            getattr(made, f"add_{self._kinds[name]}")(f"{OWN}{name}", value)
        return made

    def search(self, queries: Sequence[str], k: int) -> Hits:
        return self._search(queries, k, None)

    def search_where(self, queries: Sequence[str], k: int, where: Where) -> Hits:
        return self._search(queries, k, where.predicate)

    def _search(self, queries: Sequence[str], k: int, predicate: Predicate | None) -> Hits:
        self._open()
        searcher = self._engine.searcher()
        among = None if predicate is None else self._condition(predicate)

        def ask(text: str) -> tuple[list[int], list[float]]:
            found = searcher.search(self._query(text, among), k, count=False).hits
            places = searcher.fast_field_values(POSITION, [address for _, address in found])
            return by_score(places, [score for score, _ in found])

        return padded(*one_by_one(queries, k, ask), k) if k else Hits.empty(len(queries), k)

    def _open(self) -> None:
        if self._engine is None:
            self._engine = self.created()

    def _query(self, text: str, among: Any) -> Any:
        from tantivy import Occur, Query

        schema = self._engine.schema
        words = self._analyser.analyze(text)
        terms = [Query.term_query(schema, TEXT, word, index_option="freq") for word in words]
        query = Query.boolean_query([(Occur.Should, term) for term in terms])
        if among is None:
            return query
        filtering = Query.const_score_query(among, 0.0)
        return Query.boolean_query([(Occur.Must, query), (Occur.Must, filtering)])

    def _condition(self, predicate: Predicate) -> Any:
        from tantivy import FieldType, Occur, Query

        schema = self._engine.schema
        if isinstance(predicate, Joined):
            occur = {"and": Occur.Must, "or": Occur.Should}[predicate.how]
            parts = [(occur, self._condition(part)) for part in predicate.parts]
            return Query.boolean_query(parts)
        name, value = f"{OWN}{predicate.column}", predicate.value
        if isinstance(value, bool | str):
            same = Query.term_query(schema, name, value, index_option="basic")
            if predicate.operator == "==":
                return same
            return Query.exists_query(name).and_must_not_match(same)
        low, high = LIMITS[predicate.operator]
        return Query.range_query(
            schema, name, FieldType.Float,
            lower_bound=float(value) if low else None, upper_bound=float(value) if high else None,
            include_lower=low != "open", include_upper=high != "open",
        )  # fmt: skip

    def insert(self, keys: Ints, documents: Sequence[str]) -> None:
        for key, text in zip(keys.tolist(), documents, strict=True):
            self._writing().add_document(self.document(key, text, {}))
        self._commit()

    def delete(self, keys: Ints) -> None:
        from tantivy import FieldType, Query

        writer = self._writing()
        for key in keys.tolist():
            one = Query.range_query(
                self._engine.schema, POSITION, FieldType.Unsigned, lower_bound=key, upper_bound=key
            )
            writer.delete_documents_by_query(one)
        self._commit()

    def _writing(self) -> Any:
        self._open()
        if self._writer is None:
            self._writer = self._engine.writer(num_threads=1)
        return self._writer

    def _commit(self) -> None:
        self._writer.commit()
        self._engine.reload()

    def save(self, folder: Path) -> None:
        (folder / ABOUT).write_text(json.dumps(self._about))
        folders.copied(self._folder, folder)

    @classmethod
    def load(cls, folder: Path) -> TantivyIndex:
        """Open the index; its folder is memory-mapped, and must be kept."""
        return cls(folder / folders.FOLDER, *json.loads((folder / ABOUT).read_text()))

    def nbytes(self) -> int:
        """Return the size of the files, all of which are memory-mapped."""
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
