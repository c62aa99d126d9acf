"""Training queries as vectors, with their relevant documents, a part of them held out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rankstone.runners.protocols import Context
from rankstone.runners.search.exact.flat import Vectors

HELD_OUT = 0.2
"""Share of the queries by which the best epoch is chosen."""
MIN_QUERIES = 20
"""Fewer judged queries teach nothing, and their held-out part shows nothing."""
DEPTH = 10

Positions = NDArray[np.int64]


class TrainingQueries(NamedTuple):
    """Queries with at least one relevant document.

    Attributes:
        vectors: (n, dim) float32.
        relevant: for each, the positions of its relevant documents.
    """

    vectors: Vectors
    relevant: Sequence[Positions]

    def __len__(self) -> int:
        return len(self.vectors)

    def at(self, rows: Positions) -> TrainingQueries:
        return TrainingQueries(self.vectors[rows], [self.relevant[row] for row in rows])

    def split(self, seed: int) -> tuple[TrainingQueries, TrainingQueries]:
        """Return the queries to learn from and those held out."""
        order = np.random.default_rng(seed).permutation(len(self))
        n_held_out = max(1, round(HELD_OUT * len(self)))
        return self.at(np.sort(order[n_held_out:])), self.at(np.sort(order[:n_held_out]))


def judged_rows(context: Context) -> dict[int, Positions]:
    """Rows of the training queries that have relevant documents -> their positions."""
    judged = context.train_judgements
    relevant = np.asarray(judged.label) >= 1
    query = np.asarray(judged.query)[relevant]
    document = np.asarray(judged.document)[relevant]
    return {int(row): np.unique(document[query == row]) for row in np.unique(query)}


def training_queries(encoder: Any, context: Context, rows: dict[int, Positions]) -> TrainingQueries:
    """The queries of `rows`, encoded."""
    texts = [context.train_queries[row] for row in rows]
    vectors = np.ascontiguousarray(encoder.encode(texts, "query"), dtype=np.float32)
    return TrainingQueries(vectors, list(rows.values()))


def mean_ndcg(docs: Positions, relevant: Sequence[Positions]) -> float:
    """Mean nDCG@10 of (n, 10) ranked positions, with binary gains."""
    discounts = 1 / np.log2(np.arange(2, 2 + DEPTH))
    ideal = np.cumsum(discounts)
    values = [
        np.isin(row, right)[:DEPTH] @ discounts[: len(row)] / ideal[min(len(right), DEPTH) - 1]
        for row, right in zip(docs, relevant, strict=True)
    ]
    return math.fsum(values) / len(values)
