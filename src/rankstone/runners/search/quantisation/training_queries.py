"""Training queries as vectors with their relevant documents, and a held-out part."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rankstone.runners.protocols import Context
from rankstone.runners.search.exact.flat import Vectors

HELD_OUT = 0.2
"""Share of queries held out to choose the best epoch."""
MIN_QUERIES = 20
"""Least number of judged queries for training and held-out evaluation."""
DEPTH = 10

Positions = NDArray[np.int64]


class TrainingQueries(NamedTuple):
    """Queries with at least one relevant document.

    Attributes:
        vectors: (n, dim) float32.
        relevant: positions of each query's relevant documents.
    """

    vectors: Vectors
    relevant: Sequence[Positions]

    def __len__(self) -> int:
        return len(self.vectors)

    def at(self, rows: Positions) -> TrainingQueries:
        return TrainingQueries(self.vectors[rows], [self.relevant[row] for row in rows])

    def split(self, seed: int) -> tuple[TrainingQueries, TrainingQueries]:
        """Return the queries to train on and those held out."""
        order = np.random.default_rng(seed).permutation(len(self))
        n_held_out = max(1, round(HELD_OUT * len(self)))
        return self.at(np.sort(order[n_held_out:])), self.at(np.sort(order[:n_held_out]))


def judged_rows(context: Context) -> dict[int, Positions]:
    """Return row -> positions of relevant documents, for training queries that have some."""
    judged = context.train_judgements
    relevant = np.asarray(judged.label) >= 1
    query = np.asarray(judged.query)[relevant]
    document = np.asarray(judged.document)[relevant]
    return {int(row): np.unique(document[query == row]) for row in np.unique(query)}


def training_queries(encoder: Any, context: Context, rows: dict[int, Positions]) -> TrainingQueries:
    """Encode the training queries `rows`."""
    texts = [context.train_queries[row] for row in rows]
    vectors = np.ascontiguousarray(encoder.encode(texts, "query"), dtype=np.float32)
    return TrainingQueries(vectors, list(rows.values()))


def mean_ndcg(docs: Positions, relevant: Sequence[Positions]) -> float:
    """Return the mean nDCG@10 of (n, 10) ranked positions, with binary gains."""
    discounts = 1 / np.log2(np.arange(2, 2 + DEPTH))
    ideal = np.cumsum(discounts)
    values = [
        np.isin(row, right)[:DEPTH] @ discounts[: len(row)] / ideal[min(len(right), DEPTH) - 1]
        for row, right in zip(docs, relevant, strict=True)
    ]
    return math.fsum(values) / len(values)
