"""Exhaustive scoring by a black box: the reference for cheaper methods."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic.dataclasses import dataclass

from rankstone.predicates import Where
from rankstone.runners.protocols import STRICT, Context, Hits
from rankstone.runners.saved import SavedIndex
from rankstone.runners.search.blackbox.black_box import OverBlackBox
from rankstone.runners.search.rescoring import Positions, Scored, reranking

BLOCK = 1024
"""Documents scored in one call."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Exhaustive(OverBlackBox):
    """Brute force: n calls of the black box per query, the items of the phase `rerank`.

    For small collections, and for small parts of large ones: under a filter only documents that
    pass are scored. A listwise scorer gets them in one list, in the order of the corpus. Ties, also
    at rank k, go to the lower position; a document without a score is not found.
    """

    DESCRIPTION: ClassVar[str] = "every document scored"
    ONE_LIST: ClassVar[bool] = True

    def build(self, scored: Scored, context: Context) -> ExhaustiveIndex:
        return ExhaustiveIndex(scored, context=context)


@dataclasses.dataclass(frozen=True, eq=False)
class ExhaustiveIndex(SavedIndex):
    """A black box and its corpus."""

    scored: Scored
    context: Context | None = None
    """Charges calls to the phase `rerank`; None in a loaded index."""

    filtering: ClassVar[Literal["before"]] = "before"

    def search(self, queries: Any, k: int) -> Hits:
        return self._among(queries, k, np.arange(len(self.scored)))

    def search_where(self, queries: Any, k: int, where: Where) -> Hits:
        return self._among(queries, k, np.flatnonzero(where.passes))

    def _among(self, queries: Any, k: int, every: Positions) -> Hits:
        n, hits = len(every), Hits.empty(len(queries), k)
        size = (
            max(n, 1) if getattr(getattr(self.scored, "scorer", None), "listwise", False) else BLOCK
        )
        with reranking(self.context, n * len(queries)):
            for row in range(len(queries)):
                given = np.empty(n, dtype=np.float32)
                for start in range(0, n, size):
                    part = slice(start, start + size)
                    given[part] = self.scored.scores(queries[row : row + 1], every[part])
                best = np.argsort(-given, kind="stable")[:k]
                best = best[given[best] > -np.inf]
                hits.docs[row, : len(best)], hits.scores[row, : len(best)] = (
                    every[best],
                    given[best],
                )
        return hits

    def nbytes(self) -> int:
        """Return the bytes of one query's scores: documents are read from disk block by block."""
        return len(self.scored) * np.dtype(np.float32).itemsize
