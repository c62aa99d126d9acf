"""Joint training of encoders and the centroids of a product quantiser (JPQ, RepCONC).

Imports torch: import this inside functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rankstone.arrays import Ints
from rankstone.runners.search.quantisation.codebooks import others, table_scores
from rankstone.runners.search.quantisation.learnt_centroids import Learnt
from rankstone.runners.search.quantisation.quantiser import (
    BYTE,
    Quantiser,
    bare_index,
    sample_size,
)
from rankstone.runners.search.quantisation.sinkhorn import balanced_codes
from rankstone.runners.testing import MemoryChunks
from rankstone.training.data import BLOCK
from rankstone.training.losses.in_batch import InBatch, unit
from rankstone.training.losses.multi_label import decoupled_softmax


class Centroids(nn.Module):
    """Fixed rotation and trainable centroids, with a learning rate of their own.

    Args:
        start: Quantiser to start from.
    """

    def __init__(self, start: Quantiser) -> None:
        super().__init__()
        n_parts, _, width = start.centroids.shape
        rotation = np.eye(n_parts * width) if start.rotation is None else start.rotation
        self.rotation: Tensor
        self.register_buffer("rotation", torch.as_tensor(rotation, dtype=torch.float32).clone())
        self.weight = nn.Parameter(torch.from_numpy(start.centroids).clone())

    @property
    def quantiser(self) -> Quantiser:
        """The quantiser with the current centroids."""
        found = (part.detach().cpu().numpy().copy() for part in (self.rotation, self.weight))
        return Quantiser(*found)


class RankedCodes(nn.Module):
    """Query encoder and centroids, trained on the top results of an index with fixed codes (JPQ).

    Zhan et al., Jointly Optimizing Query Encoder and Product Quantization, CIKM 2021
    (arXiv:2108.00644). Documents are encoded and quantised once, by the initial model. In each step
    every query is searched with the current encoder and centroids, so that the negatives are the
    documents that the index itself ranks best. Scores are those of the index, with reconstructed
    documents. The loss is `lambda_loss`.

    Args:
        relevant: Positions of relevant documents, by query number.
        documents: Texts of the documents; supports slicing.
        runner: A runner with `start`, `codes` and a document encoder.
        negatives: Number of top results used as negatives of each query.
        centroid_rate: Learning rate of the centroids.
        temperature: Divisor of scores; None: 0.05 for cosines, 1 for inner products.
    """

    def __init__(
        self, model: Any, relevant: Sequence[Ints], similarity: str, documents: Any, runner: Any,
        seed: int, negatives: int = 200, centroid_rate: float = 2e-4,
        temperature: float | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.model, self.similarity, self.negatives = model, similarity, negatives
        self.temperature = temperature or (0.05 if similarity == "cosine" else 1.0)
        self._relevant, self.rates = relevant, {r"^centroids\.weight$": centroid_rate}
        vectors = MemoryChunks(runner.encoder, documents, BLOCK)
        start = runner.start(vectors, seed)
        self.centroids, self._coding = Centroids(start), start
        self.codes: Tensor
        self.register_buffer("codes", torch.from_numpy(runner.codes(start, _read(vectors))))

    def forward(self, sentence_features: Any, labels: Tensor) -> Tensor:
        """Return the loss; `labels` are the (n, 2) numbers of the query and a relevant document."""
        (features,) = sentence_features
        vectors = unit(self.model(features)["sentence_embedding"], self.similarity)
        queries = vectors @ self.centroids.rotation.T
        numbers, positives = labels.cpu().numpy().T
        candidates = np.concatenate([positives[:, None], self._found(queries)], axis=1)
        left_out = others(candidates, [self._relevant[number] for number in numbers.tolist()])
        codes = self.codes[torch.from_numpy(candidates).to(self.codes.device)].long()
        scores = table_scores(queries, self.centroids.weight, codes) / self.temperature
        return lambda_loss(scores, left_out.to(scores.device))

    def save(self, folder: Path) -> None:
        """Write the quantisers beside the query encoder."""
        Learnt(self._coding, self.centroids.quantiser).save(folder)

    def _found(self, queries: Tensor) -> Ints:
        """Return (n, negatives) positions of the top results of the current index."""
        index = bare_index(self.centroids.quantiser, self.codes.cpu().numpy())
        asked = np.ascontiguousarray(queries.detach().cpu().numpy(), dtype=np.float32)
        found: Ints = index.search(asked, min(self.negatives, index.ntotal))[1]
        return found


def _read(chunks: MemoryChunks) -> list[Any]:
    """Return all vectors of `chunks` as one chunk."""
    return [chunks.take(np.arange(len(chunks)))]


def lambda_loss(scores: Tensor, left_out: Tensor) -> Tensor:
    """Return the mean over queries of the sum over documents d of
    |1 / rank(d+) - 1 / rank(d)| log(1 + e^(s(d) - s(d+))).

    The weight is the change of the reciprocal rank if d+ and d were swapped (LambdaRank; Burges,
    2010). Ranks are computed from `scores` and receive no gradient.

    Args:
        scores: (queries, documents), the relevant document d+ first.
        left_out: Bool array of the same shape: True for other relevant documents, and for
            further occurrences of d+.
    """
    kept = scores.masked_fill(left_out, -torch.inf)
    order = kept.detach().argsort(dim=1, descending=True, stable=True)
    ranks = 1 + order.argsort(dim=1).to(scores)
    weights = (1 / ranks[:, :1] - 1 / ranks[:, 1:]).abs().masked_fill(left_out[:, 1:], 0)
    lost: Tensor = nn.functional.softplus(scores[:, 1:] - scores[:, :1])
    return (weights * lost).sum(1).mean()


class JointClustering(InBatch):
    """Encoder and centroids, trained on documents quantised by constrained clustering (RepCONC).

    Zhan et al., Learning Discrete Representations via Constrained Clustering for Effective and
    Efficient Dense Retrieval, WSDM 2022 (arXiv:2110.05789). The documents of a batch are quantised
    such that all centroids of a sub-vector are used equally often (`balanced_codes`). The loss is a
    ranking loss of the quantised vectors plus mse_weight |R d - c|^2. The gradient of the ranking
    loss reaches the centroids and, by the straight-through estimator, the encoder. The ranking loss
    is the softmax of each relevant document against those of the batch that are not relevant.

    Args:
        runner: A runner with `start`, `epsilon`, `iterations` and a document encoder.
        mse_weight: Weight of the quantisation error.
        centroid_rate: Learning rate of the centroids.
    """

    def __init__(
        self, model: Any, relevant: Sequence[Ints], similarity: str, documents: Any, runner: Any,
        seed: int, mse_weight: float = 1e-4, centroid_rate: float = 5e-4,
        temperature: float | None = None,
    ) -> None:  # fmt: skip
        usual = 0.05 if similarity == "cosine" else 1.0
        super().__init__(model, relevant, similarity, temperature or usual)
        self.mse_weight, self.rates = mse_weight, {r"^centroids\.weight$": centroid_rate}
        self._plan = {"epsilon": runner.epsilon, "iterations": runner.iterations}
        chosen = np.random.default_rng(seed).permutation(len(documents))[: sample_size(BYTE)]
        sample = MemoryChunks(runner.encoder, documents.take(np.sort(chosen)), BLOCK)
        self.centroids = Centroids(runner.start(sample, seed))

    def forward(self, sentence_features: Any, labels: Tensor) -> Tensor:
        found = self.batch(sentence_features, labels)
        rotated = found.documents @ self.centroids.rotation.T
        quantised = self.quantised(rotated)
        queries = found.queries @ self.centroids.rotation.T
        through = quantised + rotated - rotated.detach()
        ranking = decoupled_softmax(queries @ through.T / self.temperature, found.relevant)
        return ranking + self.mse_weight * ((rotated - quantised) ** 2).sum(1).mean()

    def quantised(self, rotated: Tensor) -> Tensor:
        """Quantise (n, dim) rotated documents, with every centroid used equally often."""
        weight = self.centroids.weight
        parts = rotated.detach().reshape(len(rotated), weight.shape[0], weight.shape[2])
        codes = balanced_codes(parts, weight.detach(), **self._plan).to(weight.device)
        return weight[torch.arange(len(weight)), codes].reshape(len(rotated), -1)

    def save(self, folder: Path) -> None:
        """Write the quantiser beside the shared encoder."""
        Learnt(self.centroids.quantiser, self.centroids.quantiser).save(folder)
