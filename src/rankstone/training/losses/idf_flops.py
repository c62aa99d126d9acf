"""FLOPS regularisation that penalises rare tokens less.

Imports torch: import this inside functions.
"""

from __future__ import annotations

from typing import Any

import torch
from sentence_transformers.sparse_encoder.losses import FlopsLoss, SpladeLoss
from torch import Tensor, nn


class IdfFlops(FlopsLoss):
    """FLOPS loss weighted by idf: sum_j (mean over texts of w_j / max(idf_j, 1))^2.

    Geng et al., 2024 (arXiv:2411.04403) weight the FLOPS of a token by its idf; their released code
    uses idf in the query weights only. The form of the weight is our reading of the paper. The idf
    is clamped at 1: a token in every text, such as [CLS], has an idf near 0, and its penalty alone
    would dominate the loss.
    """

    def __init__(self, model: Any, idf: Tensor, threshold: float | None = None) -> None:
        super().__init__(model, threshold)
        self.idf: Tensor
        self.register_buffer("idf", idf.clamp_min(1.0), persistent=False)

    def compute_loss_from_embeddings(self, embeddings: Tensor) -> Tensor:
        found: Tensor = super().compute_loss_from_embeddings(embeddings / self.idf)
        return found


class IdfSplade(SpladeLoss):
    """SpladeLoss with `IdfFlops` as document regulariser, with the idf of the training documents.

    Args:
        documents: Texts from which idf_j = ln(1 + (N - n_j + .5) / (n_j + .5)) is computed.
    """

    def __init__(self, model: Any, loss: nn.Module, documents: Any, **options: Any) -> None:
        idf = idf_of(model, documents)
        threshold = options.pop("document_regularizer_threshold", None)
        super().__init__(
            model, loss, document_regularizer=IdfFlops(model, idf, threshold), **options
        )


def idf_of(model: Any, documents: Any, block: int = 1024) -> Tensor:
    """Return the (vocabulary,) idf of the tokens in `documents`, a sequence of texts."""
    words = model[0].auto_model.get_output_embeddings()
    counts = torch.zeros(words.weight.shape[0], dtype=torch.float64)
    tokenizer = model.tokenizer
    for start in range(0, len(documents), block):
        for ids in tokenizer(documents[start : start + block], truncation=True)["input_ids"]:
            counts[sorted(set(ids))] += 1
    n = len(documents)
    return torch.log1p((n - counts + 0.5) / (counts + 0.5)).float()
