"""BM25 over analysed words."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.errors import DefinitionError
from rankstone.runners.encoders.tokens import TOKEN_PATTERN, tokenised
from rankstone.runners.protocols import STRICT, Chunks, Context, Defaults, Json, Role
from rankstone.runners.representations.words import Words
from rankstone.runners.search.exact.bm25_index import BM25Index, Scoring


@dataclass(frozen=True, kw_only=True, config=STRICT)
class BM25(Defaults):
    """Okapi BM25 over lower-cased and stemmed words without stop words.

    The variants are those of Kamphuis et al. (ECIR 2020, "Which BM25 Do You Mean?"); `lucene` sums
    ``ln(1 + (N - df + .5) / (df + .5)) * tf / (tf + k1 * (1 - b + b * l / L))`` over query terms,
    for a document of length l among N documents of mean length L. A repeated query term counts
    repeatedly.

    Only documents with a score above zero are returned. Ties, also at rank k, go to the lower
    position in the corpus.
    """

    k1: Annotated[float, Field(ge=0)] = 0.9
    b: Annotated[float, Field(ge=0, le=1)] = 0.4
    method: Literal["lucene", "robertson", "atire"] = "lucene"
    stopwords: str | list[str] = "english"
    """Language of bm25s's stop words, "none", or the stop words themselves, in lower case."""
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
        """Return the tokens of each text, in order, repeats included."""
        words = self.stopwords
        stop_words = _stop_words(words) if isinstance(words, str) else words
        stemmer = _snowball(self.stemmer)
        return tokenised(texts, stop_words, stemmer.stemWords if stemmer else list)

    def index(self, documents: Chunks[Words], context: Context) -> BM25Index:
        scoring = Scoring(k1=self.k1, b=self.b, method=self.method)
        return BM25Index.build(documents, scoring, threads=context.threads, work=context.work)


@functools.cache
def _stop_words(language: str) -> list[str]:
    from bm25s.tokenization import _infer_stopwords

    try:
        return [] if language == "none" else list(_infer_stopwords(language))
    except ValueError as error:
        raise DefinitionError(f"stop words '{language}': {error}") from None


@functools.cache
def _snowball(language: str) -> Any:
    """Return a stemmer; caching is safe because a worker encodes in one thread."""
    if language == "none":
        return None
    import Stemmer

    if language not in Stemmer.algorithms():
        known = ", ".join(Stemmer.algorithms())
        raise DefinitionError(f"stemmer '{language}' is not one of Snowball's: {known}, or none.")
    return Stemmer.Stemmer(language)
