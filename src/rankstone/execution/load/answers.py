"""Answers under load, compared with those of a single client."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rankstone.arrays import Floats, Ints
from rankstone.results.per_query import RawLoad
from rankstone.runners.protocols import Hits
from rankstone.runners.search.exactness import FIRST

Score = Callable[[Hits], Floats]
"""Returns the headline measure of each query of the task; `Hits` are those of all its queries."""


class Answers:
    """Answers to queries; those that differ from a single client's are stored once each.

    Args:
        single: hits of a single client, by row of the query.
    """

    def __init__(self, single: dict[int, Hits]) -> None:
        self.single = single
        self._variants: dict[int, dict[bytes, Hits]] = {
            row: {_key(hits): hits} for row, hits in single.items()
        }
        self._of: dict[int, tuple[int, bytes]] = {}
        self._single_values: Floats | None = None

    def keep(self, number: int, row: int, hits: Hits) -> None:
        """Store the answer to a request."""
        key = _key(hits)
        self._variants[row].setdefault(key, hits)
        self._of[number] = (row, key)

    def compared(self, requests: RawLoad, n_queries: int, score: Score) -> RawLoad:
        """Return the requests of one trial with their comparisons, and discard their answers."""
        values = [self._alone(n_queries, score)]
        values += [self._scored(rank, n_queries, score) for rank in range(1, self._most())]
        facts = {
            (row, key): (rank == 0, _overlap(hits, alone), values[rank][row], values[0][row])
            for row, alone in self.single.items()
            for rank, (key, hits) in enumerate(self._variants[row].items())
        }
        found = np.full((len(requests.row), 4), np.nan)
        for number, answered in self._of.items():
            found[number] = facts[answered]
        self._of.clear()
        names = ("same", "overlap", "value", "single")
        return requests._replace(**dict(zip(names, found.T, strict=True)))

    def _most(self) -> int:
        """Return the maximum number of distinct answers to a query, with the single client's."""
        return max(map(len, self._variants.values()))

    def _alone(self, n_queries: int, score: Score) -> Floats:
        if self._single_values is None:
            self._single_values = self._scored(0, n_queries, score)
        return self._single_values

    def _scored(self, rank: int, n_queries: int, score: Score) -> Floats:
        """Return the headline measure by query of the answers of this number."""
        width = next(iter(self.single.values())).docs.shape[1]
        hits = Hits.empty(n_queries, width)
        for row, variants in self._variants.items():
            answer = list(variants.values())[min(rank, len(variants) - 1)]
            hits.docs[row], hits.scores[row] = answer.docs[0], answer.scores[0]
        return score(hits)


def _key(hits: Hits) -> bytes:
    return hits.docs.tobytes()


def _overlap(hits: Hits, other: Hits) -> float:
    """Return the share of the first results of `other` that are among those of `hits`."""
    expected = _first(other)
    return len(np.intersect1d(_first(hits), expected)) / len(expected) if len(expected) else 1.0


def _first(hits: Hits) -> Ints:
    docs = hits.docs[0, :FIRST]
    return docs[docs >= 0]
