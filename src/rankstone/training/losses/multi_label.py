"""Losses for dual encoders and queries with many relevant documents (DEXML).

Gupta et al., Dual-Encoders for Extreme Multi-Label Classification, ICLR 2024 (arXiv:2310.10636).
Imports torch: import this inside functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rankstone.arrays import Ints
from rankstone.training.losses.in_batch import InBatch

BISECTIONS = 40


class DecoupledSoftmax(InBatch):
    """Softmax of each relevant document against those that are not relevant."""

    def loss(self, scores: Tensor, relevant: Tensor) -> Tensor:
        return decoupled_softmax(scores, relevant)


class SoftTopK(InBatch):
    """Negative logarithm of a differentiable top-k membership of the relevant documents."""

    def __init__(
        self, model: Any, relevant: Sequence[Ints], similarity: str, k: int = 5,
        alpha: float = 2.0, temperature: float = 0.05,
    ) -> None:  # fmt: skip
        super().__init__(model, relevant, similarity, temperature)
        self.k, self.alpha = k, alpha

    def loss(self, scores: Tensor, relevant: Tensor) -> Tensor:
        return soft_top_k_loss(scores, relevant, self.k, self.alpha)


def decoupled_softmax(scores: Tensor, relevant: Tensor) -> Tensor:
    """Return the mean over queries of the mean over their relevant documents l of
    -log(e^s_l / (e^s_l + sum over documents j that are not relevant of e^s_j)).

    Args:
        scores: (queries, documents) array.
        relevant: Bool array of the same shape.
    """
    others = scores.masked_fill(relevant, -torch.inf).logsumexp(1, keepdim=True)
    return _mean(nn.functional.softplus(others - scores), relevant)


def soft_top_k_loss(scores: Tensor, relevant: Tensor, k: int, alpha: float) -> Tensor:
    """Return the mean over queries of the mean over their relevant documents of -log soft_top_k."""
    k = min(k, scores.shape[1] - 1)
    return _mean(-soft_top_k(scores, k, alpha).clamp_min(torch.finfo(scores.dtype).tiny).log(),
                 relevant)  # fmt: skip


def soft_top_k(scores: Tensor, k: float, alpha: float) -> Tensor:
    """Return sigma(alpha (s + t)), with t such that each row sums to `k`.

    The gradient accounts for the dependence of t on the scores in closed form: the Jacobian is
    diag(v) - v v^T / sum(v) with v = alpha sigma (1 - sigma).
    """
    found: Tensor = _SoftTopK.apply(scores, k, alpha)  # type: ignore[no-untyped-call]
    return found


class _SoftTopK(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, scores: Tensor, k: float, alpha: float) -> Tensor:
        reach = float(np.log(scores.shape[1] / k) + 40.0) / alpha
        low = -scores.amax(1, keepdim=True) - reach
        high = -scores.amin(1, keepdim=True) + reach
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            over = torch.sigmoid(alpha * (scores + middle)).sum(1, keepdim=True) > k
            low, high = torch.where(over, low, middle), torch.where(over, middle, high)
        found = torch.sigmoid(alpha * (scores + (low + high) / 2))
        context.save_for_backward(found)
        context.alpha = alpha
        return found

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        (found,) = context.saved_tensors
        slope = context.alpha * found * (1 - found)
        weighted = (slope * gradient).sum(1, keepdim=True)
        total = slope.sum(1, keepdim=True).clamp_min(torch.finfo(slope.dtype).tiny)
        return slope * gradient - slope * weighted / total, None, None


def _mean(losses: Tensor, relevant: Tensor) -> Tensor:
    """Return the mean over rows of the mean over the relevant entries of each."""
    counts = relevant.sum(1)
    sums = losses.masked_fill(~relevant, 0).sum(1)
    return (sums[counts > 0] / counts[counts > 0]).mean()
