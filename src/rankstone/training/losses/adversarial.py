"""Alternate training of a retriever and a ranker, each against the other's current state (AR2).

Zhang et al., Adversarial Retriever-Ranker for Dense Text Retrieval, ICLR 2022 (arXiv:2110.03611).
Imports torch: import this inside functions.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from rankstone.training.losses.in_batch import unit


class AdversarialRetriever(nn.Module):
    """Retriever G, trained adversarially against a ranker D and distilled from it.

    The first document of each query is relevant, the others are negatives mined by the retriever.
    The loss has two parts: the sum over negatives d of p_G(d | negatives) log p_D(d+ | {d+, d}), by
    which G prefers negatives that D takes for relevant, and the cross-entropy H(p_D, p_G) over all
    documents.

    Args:
        weight: Weight of the first part.
        scale: Factor of the retriever's scores in p_G.
        ranker_scale: Factor of the ranker's scores in p_D (tau).
    """

    def __init__(
        self, model: Any, similarity: str, weight: float = 0.5, scale: float | None = None,
        ranker_scale: float = 1.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.model, self.similarity, self.weight = model, similarity, weight
        self.scale = (20.0 if similarity == "cosine" else 1.0) if scale is None else scale
        self.ranker_scale = ranker_scale

    def forward(self, sentence_features: Any, labels: Tensor) -> Tensor:
        """Return the loss; `labels` are the (n, documents) scores of the ranker."""
        queries, *columns = (
            unit(self.model(features)["sentence_embedding"], self.similarity)
            for features in sentence_features
        )
        scores = torch.stack([(queries * found).sum(1) for found in columns], dim=1)
        scores, ranked = scores * self.scale, labels * self.ranker_scale
        return self.weight * adversarial_loss(scores, ranked) + distillation(scores, ranked)


def adversarial_loss(retriever: Tensor, ranker: Tensor) -> Tensor:
    """Return the mean over queries of the sum over negatives d of
    p_G(d | negatives) log p_D(d+ | {d+, d}).

    Args:
        retriever: (queries, documents) scores, of the relevant document first.
        ranker: Scores of the same shape; receives no gradient.
    """
    ranker = ranker.detach()
    won = nn.functional.logsigmoid(ranker[:, :1] - ranker[:, 1:])
    return (retriever[:, 1:].softmax(1) * won).sum(1).mean()


def distillation(retriever: Tensor, ranker: Tensor) -> Tensor:
    """Return the mean over queries of the cross-entropy H(p_D, p_G) over all documents."""
    return nn.functional.cross_entropy(retriever, ranker.detach().softmax(1))
