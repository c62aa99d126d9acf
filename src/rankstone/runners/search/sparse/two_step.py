"""Learned sparse search in two steps: pruned vectors retrieve, full vectors re-score."""

from __future__ import annotations

import dataclasses
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.runners.protocols import STRICT, Chunks, Context, Hits
from rankstone.runners.representations.base import offsets_of
from rankstone.runners.representations.pieces import Derived
from rankstone.runners.representations.sparse_rows import SparseRows
from rankstone.runners.saved import SavedIndex
from rankstone.runners.search.base import OverEncoder
from rankstone.runners.search.exact.inverted_index import InvertedIndex


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TwoStep(OverEncoder):
    """Two-Step SPLADE (Lassance et al., ECIR 2024, arXiv:2404.13357), over any sparse encoder.

    The first step searches an inverted index of documents pruned to their `document_terms` terms of
    largest weight, with queries pruned to their `query_terms`; the second re-scores the `rescore`
    best by the full vectors. In the first step document weights saturate as in BM25,
    ``w (k1 + 1) / (w + k1)``, which reduces the influence of large weights; None: no saturation.
    Weights are the encoder's own, not scaled to integers, so `k1` has their unit.

    A search reads the lists of `query_terms` terms, and `rescore` vectors from disk. The lists take
    8 bytes per kept (document, term), and 4 per vocabulary entry. Of terms with equal weight the
    lower one is kept; ties of documents go to the lower position in the first step, and among
    re-scored documents to the better rank in the first step.
    """

    DESCRIPTION: ClassVar[str] = "inverted lists of pruned vectors"

    document_terms: Annotated[int, Field(ge=1)] = 50
    query_terms: Annotated[int, Field(ge=1)] = 10
    k1: Annotated[float, Field(gt=0)] | None = None

    def build(self, documents: Chunks[SparseRows], context: Context) -> PrunedIndex:
        pruned = Derived(documents, lambda rows, _: reduced(rows, self.document_terms, self.k1))
        return PrunedIndex(InvertedIndex.build(pruned), query_terms=self.query_terms)


@dataclasses.dataclass(frozen=True, eq=False)
class PrunedIndex(SavedIndex):
    """An inverted index searched with pruned queries."""

    lists: InvertedIndex
    query_terms: int

    def search(self, queries: SparseRows, k: int) -> Hits:
        return self.lists.search(heaviest(queries, self.query_terms), k)


def reduced(rows: SparseRows, terms: int, k1: float | None) -> SparseRows:
    """Return documents pruned and saturated for the first step."""
    kept = heaviest(rows, terms)
    return kept if k1 is None else saturated(kept, k1)


def heaviest(rows: SparseRows, n: int) -> SparseRows:
    """Return every text with its `n` terms of largest weight; of equals, the lower ones."""
    if not len(rows) or rows.lengths.max() <= n:
        return rows
    owners = np.repeat(np.arange(len(rows)), rows.lengths)
    order = np.lexsort((rows.terms, -rows.weights, owners))  # offsets are valid for this order too
    ranks = np.arange(len(order)) - rows.offsets[owners]
    kept = np.sort(order[ranks < n])
    offsets = offsets_of(np.minimum(rows.lengths, n))
    return SparseRows(rows.weights[kept], rows.terms[kept], offsets, rows.width)


def saturated(rows: SparseRows, k1: float) -> SparseRows:
    """Return the same terms with weights w (k1 + 1) / (w + k1)."""
    weights = (rows.weights * (k1 + 1) / (rows.weights + k1)).astype(np.float32)
    return dataclasses.replace(rows, weights=weights)
