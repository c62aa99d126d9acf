"""Base of losses over all pairs of queries and documents of a batch.

Imports torch: import this inside functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from rankstone.arrays import Ints


def in_batch_scores(queries: Tensor, documents: Tensor, similarity: str) -> Tensor:
    """Return the (queries, documents) scores of vectors by `cosine` or `dot`."""
    return unit(queries, similarity) @ unit(documents, similarity).T


def unit(vectors: Tensor, similarity: str) -> Tensor:
    """Return vectors whose inner products are the similarity."""
    return nn.functional.normalize(vectors, dim=-1) if similarity == "cosine" else vectors


class Batch(NamedTuple):
    """Distinct queries and documents of a batch."""

    queries: Tensor
    """(queries, dim) vectors whose inner products are the similarity."""
    documents: Tensor
    """(documents, dim) vectors, likewise."""
    relevant: Tensor
    """(queries, documents) bool, from the judgements."""


class InBatch(nn.Module):
    """Base of losses computed from the (queries, documents) scores and relevance of a batch.

    A query or document that occurs several times in a batch counts once. Relevance is taken from
    the judgements, for every pair in the batch.
    """

    def __init__(
        self, model: Any, relevant: Sequence[Ints], similarity: str, temperature: float = 0.05
    ) -> None:
        super().__init__()
        self.model, self.similarity, self.temperature = model, similarity, temperature
        self._relevant = [frozenset(found.tolist()) for found in relevant]

    def forward(self, sentence_features: Any, labels: Tensor) -> Tensor:
        found = self.batch(sentence_features, labels)
        return self.loss(found.queries @ found.documents.T / self.temperature, found.relevant)

    def batch(self, sentence_features: Any, labels: Tensor) -> Batch:
        """Encode the batch and look up its relevance.

        Args:
            labels: (n, 1 + document columns) numbers of the query and of the documents.
        """
        vectors = [
            unit(self.model(columns)["sentence_embedding"], self.similarity)
            for columns in sentence_features
        ]
        queries, rows = _first(labels[:, 0])
        documents, places = _first(labels[:, 1:].T.flatten())
        right = [[int(d) in self._relevant[int(q)] for d in documents] for q in queries]
        relevant = torch.tensor(right, device=labels.device)
        return Batch(vectors[0][rows], torch.cat(vectors[1:])[places], relevant)

    def loss(self, scores: Tensor, relevant: Tensor) -> Tensor:
        raise NotImplementedError


def _first(numbers: Tensor) -> tuple[list[int], Tensor]:
    """Return the distinct numbers, and the position of the first occurrence of each."""
    _, first = np.unique(numbers.cpu().numpy(), return_index=True)
    places = torch.from_numpy(np.sort(first)).to(numbers.device)
    return numbers[places].tolist(), places
