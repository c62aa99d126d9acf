"""BM25 by bm25s (Lù 2024, arXiv:2407.03618): scores are computed once, when indexing."""

from __future__ import annotations

import dataclasses
import functools
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.errors import DefinitionError
from rankstone.runners.protocols import STRICT, Chunks, Context, Defaults, Hits, Json, Role
from rankstone.runners.representations.base import join, take
from rankstone.runners.top_k import highest

TOKEN_PATTERN = r"(?u)\b\w\w+\b"
"""Words of at least two letters, digits or underscores."""
THREADED_FROM = 64
"""Fewer queries than this are not worth starting threads for."""


@dataclasses.dataclass(frozen=True)
class Words:
    """The words of some texts, as numbers of a vocabulary of their own."""

    ids: list[list[int]]
    vocabulary: list[str]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, part: slice) -> Words:
        return Words(self.ids[part], self.vocabulary)

    def lists(self) -> list[list[str]]:
        """The words themselves, text by text."""
        return [[self.vocabulary[i] for i in row] for row in self.ids]

    def known_in(self, terms: dict[str, int]) -> list[list[int]]:
        """The same words as numbers of `terms`; those it does not hold are left out."""
        numbers = [terms.get(word, -1) for word in self.vocabulary]
        return [[numbers[i] for i in row if numbers[i] >= 0] for row in self.ids]


@take.register
def _(rep: Words, positions: NDArray[np.int64]) -> Words:
    return Words([rep.ids[position] for position in positions], rep.vocabulary)


@join.register
def _(first: Words, reps: Iterable[Words]) -> Words:
    return merged(reps)


def merged(parts: Iterable[Words]) -> Words:
    """All `parts` over one vocabulary, in order of first occurrence."""
    terms: dict[str, int] = {}
    rows: list[list[int]] = []
    for part in parts:
        numbers = [terms.setdefault(word, len(terms)) for word in part.vocabulary]
        as_they_are = numbers == list(range(len(numbers)))
        rows += part.ids if as_they_are else [[numbers[i] for i in row] for row in part.ids]
    return Words(rows, list(terms))


@dataclass(frozen=True, kw_only=True, config=STRICT)
class BM25(Defaults):
    """Okapi BM25 over lower-cased, stopped and stemmed words.

    The variants are those of Kamphuis et al. (ECIR 2020, "Which BM25 Do You Mean?"); `lucene` sums
    ``ln(1 + (N - df + .5) / (df + .5)) * tf / (tf + k1 * (1 - b + b * l / L))`` over query terms,
    for a document of length l among N documents of mean length L. A query term counts as often as
    the query holds it.

    Only documents with a score above zero are results. Ties, also at rank k, go to the lower
    position in the corpus.
    """

    k1: Annotated[float, Field(ge=0)] = 0.9
    b: Annotated[float, Field(ge=0, le=1)] = 0.4
    method: Literal["lucene", "robertson", "atire"] = "lucene"
    stopwords: str | list[str] = "english"
    """A language that bm25s knows, "none", or the words themselves, in lower case."""
    stemmer: str = "english"
    """A Snowball language, or "none"."""

    def __post_init__(self) -> None:
        _stop_words(self.stopwords if isinstance(self.stopwords, str) else "none")
        _snowball(self.stemmer)

    def describe(self) -> Mapping[str, Json]:
        return {
            "method": f"BM25 ({self.method})",
            "k1": self.k1,
            "b": self.b,
            "stopwords": self.stopwords,
            "stemmer": self.stemmer,
            "token_pattern": TOKEN_PATTERN,
            "lower": True,
            "engine": f"bm25s {version('bm25s')}",
            "stemmer_engine": f"PyStemmer {version('PyStemmer')}",
        }

    def encode(self, texts: Sequence[str], role: Role) -> Words:
        """The tokens of each text, in order, repeats included."""
        import bm25s

        words = self.stopwords
        tokens = bm25s.tokenize(
            list(texts),
            lower=True,
            token_pattern=TOKEN_PATTERN,
            stopwords=_stop_words(words) if isinstance(words, str) else words,
            stemmer=_snowball(self.stemmer),
            return_ids=True,
            show_progress=False,
        )
        vocabulary = sorted(tokens.vocab, key=tokens.vocab.__getitem__)
        ids = tokens.ids
        if "" in tokens.vocab:  # how bm25s marks a text without words
            blank = tokens.vocab[""]
            ids = [[i for i in row if i != blank] for row in ids]
        return Words(ids, vocabulary)

    def index(self, documents: Chunks[Words], context: Context) -> BM25Index:
        import bm25s

        words = merged(documents)
        terms = {word: i for i, word in enumerate(words.vocabulary)}
        engine = bm25s.BM25(
            k1=self.k1, b=self.b, method=self.method, backend="numpy", csc_backend="numpy"
        )
        if any(words.ids):
            engine.index((words.ids, terms), create_empty_token=False, show_progress=False)
        return BM25Index(engine if any(words.ids) else None, threads=context.threads)


class BM25Index:
    """The scores of every (term, document) pair, by term."""

    def __init__(self, engine: Any, *, threads: int) -> None:
        """`engine` is an indexed ``bm25s.BM25``, or None if no document holds a single token."""
        self._engine = engine
        self._threads = threads

    def search(self, queries: Words, k: int) -> Hits:
        asked = queries.known_in({} if self._engine is None else self._engine.vocab_dict)
        hits = Hits.empty(len(asked), k)

        def fill(row: int) -> None:
            best, values = self._search_one(asked[row], k)
            hits.docs[row, : len(best)] = best
            hits.scores[row, : len(best)] = values

        rows = range(len(asked))
        if self._threads > 1 and len(asked) >= THREADED_FROM:
            with ThreadPoolExecutor(self._threads) as pool:
                list(pool.map(fill, rows, chunksize=16))
        else:
            for row in rows:
                fill(row)
        return hits

    def _search_one(self, terms: list[int], k: int) -> tuple[NDArray[Any], NDArray[Any]]:
        if not terms or k == 0:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        return highest(self._engine.get_scores_from_ids(terms), k)

    def save(self, folder: Path) -> None:
        about = {"empty": self._engine is None, "threads": self._threads}
        (folder / "rankstone.json").write_text(json.dumps(about))
        if self._engine is not None:
            self._engine.save(folder, show_progress=False)

    @classmethod
    def load(cls, folder: Path) -> BM25Index:
        import bm25s

        about = json.loads((folder / "rankstone.json").read_text())
        engine = None if about["empty"] else bm25s.BM25.load(folder, show_progress=False)
        return cls(engine, threads=about["threads"])

    def nbytes(self) -> int:
        if self._engine is None:
            return sys.getsizeof({})
        terms: dict[str, int] = self._engine.vocab_dict
        arrays = sum(self._engine.scores[name].nbytes for name in ("data", "indices", "indptr"))
        entries = sum(sys.getsizeof(term) + sys.getsizeof(row) for term, row in terms.items())
        return int(arrays) + sys.getsizeof(terms) + entries


@functools.cache
def _stop_words(language: str) -> list[str]:
    from bm25s.tokenization import _infer_stopwords

    try:
        return [] if language == "none" else list(_infer_stopwords(language))
    except ValueError as error:
        raise DefinitionError(f"stop words '{language}': {error}") from None


@functools.cache
def _snowball(language: str) -> Any:
    """A stemmer; the cache is safe because a worker encodes in one thread."""
    if language == "none":
        return None
    import Stemmer

    if language not in Stemmer.algorithms():
        known = ", ".join(Stemmer.algorithms())
        raise DefinitionError(f"stemmer '{language}' is not one of Snowball's: {known}, or none.")
    return Stemmer.Stemmer(language)
