"""Exhaustive scoring by a black box: the reference for cheaper methods."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np
from pydantic.dataclasses import dataclass

from rankstone.runners.protocols import STRICT, Context, Hits
from rankstone.runners.saved import SavedIndex
from rankstone.runners.search.blackbox.black_box import OverBlackBox
from rankstone.runners.search.rescoring import Scored, reranking

BLOCK = 1024
"""Documents scored in one call."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Exhaustive(OverBlackBox):
    """Brute force: n calls of the black box per query, the items of the phase `rerank`.

    For small collections. Ties, also at rank k, go to the lower position; a document without a
    score is not found.
    """

    DESCRIPTION: ClassVar[str] = "every document scored"

    def build(self, scored: Scored, context: Context) -> ExhaustiveIndex:
        return ExhaustiveIndex(scored, context=context)


@dataclasses.dataclass(frozen=True, eq=False)
class ExhaustiveIndex(SavedIndex):
    """A black box and its corpus."""

    scored: Scored
    context: Context | None = None
    """Charges calls to the phase `rerank`; None in a loaded index."""

    def search(self, queries: Any, k: int) -> Hits:
        n, calls = len(self.scored), len(self.scored) * len(queries)
        hits = Hits.empty(len(queries), k)
        with reranking(self.context, calls):
            for row in range(len(queries)):
                given = np.empty(n, dtype=np.float32)
                for start in range(0, n, BLOCK):
                    positions = np.arange(start, min(start + BLOCK, n))
                    given[positions] = self.scored.scores(queries[row : row + 1], positions)
                best = np.argsort(-given, kind="stable")[:k]
                best = best[given[best] > -np.inf]
                hits.docs[row, : len(best)], hits.scores[row, : len(best)] = best, given[best]
        return hits

    def nbytes(self) -> int:
        """Return the bytes of one query's scores: documents are read from disk block by block."""
        return len(self.scored) * np.dtype(np.float32).itemsize
