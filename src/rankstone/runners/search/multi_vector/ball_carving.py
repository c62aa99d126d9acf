"""Ball carving: merge similar tokens of a query, so that re-scoring compares fewer."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from rankstone.runners.representations.pieces import Positional
from rankstone.runners.representations.ragged import Ragged, ragged
from rankstone.runners.saved import SavedIndex
from rankstone.runners.search.rescoring import Positions, Scored, Scores


def carved(tokens: NDArray[np.float32], threshold: float) -> NDArray[np.float32]:
    """Return sums of similar vectors (Dhulipala et al., MUVERA, arXiv:2405.19504, section 3.2).

    The first of the (n, dim) `tokens` is the centre of a ball, which contains it and all others
    whose inner product with it is at least `threshold`; then the first of the remaining tokens, and
    so on. Merging never increases a document's score: max <a + b, p> <= max <a, p> + max <b, p>.
    """
    left, sums = tokens, []
    while len(left):
        inside = left @ left[0] >= threshold
        inside[0] = True
        sums.append(left[inside].sum(axis=0))
        left = left[~inside]
    return np.stack(sums) if sums else tokens


@dataclasses.dataclass(frozen=True, eq=False)
class Carved(SavedIndex):
    """Documents scored for the carved tokens of a query."""

    scored: Scored
    threshold: float

    def __len__(self) -> int:
        return len(self.scored)

    def scores(self, query: Ragged, positions: Positions) -> Scores:
        return self.scored.scores(self._carved(query), positions)

    def against(self, queries: Ragged) -> Positional:
        return self.scored.against(self._carved(queries))

    def _carved(self, queries: Ragged) -> Ragged:
        balls = [carved(matrix, self.threshold) for matrix in queries.matrices()]
        return ragged(balls, queries.dim)
