"""Training of a reranker on pooled labels: joint estimation of relevance and selection.

Cai et al., Hard Negatives or False Negatives: Correcting Pooling Bias in Training Neural Ranking
Models, CIKM 2022 (arXiv:2209.05072). Imports torch: import this inside functions.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn


class ListSoftmax(nn.Module):
    """Softmax cross-entropy of the labelled document in its list: ordinary fine-tuning."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: list[list[str]], labels: Any = None, **more: Any) -> Tensor:
        return -self._scores(self.model, inputs).log_softmax(1)[:, 0].mean()

    def _scores(self, model: Any, inputs: list[list[str]]) -> Tensor:
        """Return (queries, documents) scores, the labelled document first."""
        columns = []
        for documents in inputs[1:]:
            features = model.preprocess(list(zip(inputs[0], documents, strict=True)))
            features = {k: v.to(model.device) if isinstance(v, Tensor) else v
                        for k, v in features.items()}  # fmt: skip
            columns.append(model(features)["scores"].view(-1))
        return torch.stack(columns, dim=1)


class CoupledEstimation(ListSoftmax):
    """A relevance model, and a selection model with the same initial weights that corrects it.

    A labelled document was both relevant and selected into the pool. Each model's softmax loss of
    the labelled document in its list is weighted by the inverse of the probability that the other
    model gives it. Only the relevance model is kept. No code of the authors was found; the scale of
    the weights (mean 1 in a batch, at most `largest`) is ours.
    """

    def __init__(self, model: Any, largest: float = 10.0) -> None:
        super().__init__(model)
        self.selection, self.largest = copy.deepcopy(model), largest

    def forward(self, inputs: list[list[str]], labels: Any = None, **more: Any) -> Tensor:
        relevance, selection = (self._scores(one, inputs) for one in (self.model, self.selection))
        return coupled_loss(relevance, selection, self.largest)


def coupled_loss(relevance: Tensor, selection: Tensor, largest: float) -> Tensor:
    """Return the sum of both models' weighted losses.

    Args:
        relevance: (queries, documents) scores by the relevance model, labelled document first.
        selection: The same of the selection model.
        largest: Upper bound of a weight.
    """
    f, g = (scores.log_softmax(1)[:, 0] for scores in (relevance, selection))
    total: Tensor = -(_inverse(g, largest) * f).mean() - (_inverse(f, largest) * g).mean()
    return total


def _inverse(logarithms: Tensor, largest: float) -> Tensor:
    """Return 1 / p, scaled to mean 1, then clamped, without a gradient."""
    weights = (-logarithms.detach()).softmax(0) * len(logarithms)
    return weights.clamp_max(largest)
