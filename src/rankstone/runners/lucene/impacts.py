"""Learned sparse vectors in Lucene, with integer weights stored as term frequencies."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rankstone.errors import AdapterError
from rankstone.runners.lucene.folder_index import (
    FolderIndex,
    Searcher,
    Top,
    closed,
    frequencies,
    opened_writer,
)
from rankstone.runners.lucene.jvm import java, upcast
from rankstone.runners.lucene.lucene_index import CONTENTS
from rankstone.runners.representations.sparse_rows import Row, SparseRows

ANALYSIS = "org.apache.lucene.analysis"
SIMILARITY = "io.anserini.search.similarity.ImpactSimilarity"
LARGEST = 2**24
"""Integers below it are exact in float32, the type of Lucene's scores."""


@dataclass(frozen=True, kw_only=True)
class Scales:
    """Factors that weights are multiplied by before rounding."""

    documents: float
    queries: float
    threads: int = 1


class ImpactIndex(FolderIndex):
    """Sparse vectors with Anserini's impact similarity: the score is the sum of impact products.

    Documents are numbered in the order of writing, so ties, also at rank k, go to the lower
    position in the corpus. Only documents that share a term with the query are returned.
    """

    @classmethod
    def build(cls, documents: Iterable[SparseRows], folder: Path, scales: Scales) -> ImpactIndex:
        """Write `documents` into the existing, empty `folder`, each as its terms' `term|impact`.

        Memory is Lucene's buffer and one piece.
        """
        writer = opened_writer(folder, java(SIMILARITY)(), scales.threads)
        tokens = java(f"{ANALYSIS}.core.WhitespaceTokenizer")()
        stream = java(f"{ANALYSIS}.miscellaneous.DelimitedTermFrequencyTokenFilter")(
            upcast(f"{ANALYSIS}.TokenStream", tokens)
        )
        kind = frequencies()
        kind.setOmitNorms(True)
        document, reader = (
            java("org.apache.lucene.document.Document")(),
            java("java.io.StringReader"),
        )
        document.add(
            java("org.apache.lucene.document.Field")(
                CONTENTS, upcast(f"{ANALYSIS}.TokenStream", stream), kind
            )
        )
        for piece in documents:
            for row in piece.rows():
                terms, impacts = quantised(row, scales.documents)
                pairs = zip(terms.tolist(), impacts.tolist(), strict=True)
                tokens.setReader(reader(" ".join(f"{term}|{impact}" for term, impact in pairs)))
                writer.addDocument(document)
        closed(writer)
        return cls(folder, scales)

    def _asked(self, queries: SparseRows) -> Sequence[Row]:
        return queries.rows()

    def _top(self, searcher: _Impacts, query: Row, k: int) -> Top:
        terms, impacts = quantised(query, self._settings.queries)
        return searcher.best(dict(zip(map(str, terms.tolist()), impacts.tolist(), strict=True)), k)

    @cached_property
    def _searcher(self) -> _Impacts:
        return _Impacts(self._folder)


class _Impacts:
    """Search with one query at a time; thread-safe."""

    def __init__(self, folder: Path) -> None:
        self._searcher = Searcher(folder, java(SIMILARITY)())
        self._queries = ImpactQueries()

    def best(self, impacts: dict[str, int], k: int) -> Top:
        return self._searcher.best(self._queries.query(impacts), k)


class ImpactQueries:
    """Lucene queries of weighted terms."""

    def __init__(self) -> None:
        self._generator = java("io.anserini.search.query.BagOfWordsQueryGenerator")()
        reader = java("com.fasterxml.jackson.databind.ObjectMapper")().readerForMapOf
        self._read = reader(java("java.lang.Class").forName("java.lang.Float")).readValue

    def query(self, impacts: dict[str, int]) -> Any:
        # A string is passed to Java at once, a map entry by entry.
        return self._generator.buildQuery(CONTENTS, self._read(json.dumps(impacts)))


def quantised(row: Row, scale: float) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return terms and their weights times `scale`, rounded to the nearest integer, half to even.

    Weights that round to 0 are left out. Raises AdapterError for those that are negative,
    not finite, or not exact in float32.
    """
    terms, weights = row
    scaled = np.rint(np.asarray(weights, dtype=np.float64) * scale)
    good = (scaled >= 0) & (scaled < LARGEST)  # False for NaN
    if not good.all():
        bad = float(np.asarray(weights)[~good][0])
        raise AdapterError(
            f"impacts are whole numbers from 0 below {LARGEST:,}: the weight {bad:g} of an encoder"
            f" times {scale:g} is none. Set a smaller scale, or another index."
        )
    kept = scaled > 0
    return np.asarray(terms)[kept], scaled[kept].astype(np.int64)
