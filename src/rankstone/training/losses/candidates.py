"""Training of scorers that encode a query once for all candidates: Poly- and Uni-Encoders.

Both losses are the softmax cross-entropy of the relevant document among the candidates. Imports
torch: import this inside functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from rankstone.runners.scorers.apart import EXTRA, Layout, packed, packed_scores


class PolyCodes(nn.Module):
    """Poly-Encoder with in-batch candidates: the batch's other positives and negatives.

    Humeau et al., Poly-encoders, ICLR 2020 (arXiv:1905.01969), section 4.4.

    Args:
        codes: Number of learnt code vectors that attend to the query's tokens.
    """

    def __init__(self, model: Any, codes: int = 16) -> None:
        super().__init__()
        if codes < 1:
            raise ValueError(f"'codes' is a number from 1, found {codes}")
        width = model[0].auto_model.config.hidden_size
        self.model, self.codes = model, nn.Parameter(torch.randn(codes, width))

    def forward(self, sentence_features: Any, labels: Any = None) -> Tensor:
        asked, *columns = (dict(features) for features in sentence_features)
        states = self.model(asked)["token_embeddings"]
        vectors = read_by_codes(self.codes, states, asked["attention_mask"].bool())
        firsts = [self.model(column)["token_embeddings"][:, 0] for column in columns]
        scores = attended(torch.cat(firsts), vectors)
        return cross_entropy(scores, torch.arange(len(scores), device=scores.device))

    def save(self, folder: Path) -> None:
        """Write the codes beside the backbone."""
        save_file({"codes": self.codes.detach().cpu().contiguous()}, folder / EXTRA)


def read_by_codes(codes: Tensor, states: Tensor, mask: Tensor) -> Tensor:
    """Return (queries, m, d) vectors: token states averaged by the attention of each code."""
    logits = (codes @ states.transpose(1, 2)).masked_fill(~mask[:, None], -torch.inf)
    return logits.softmax(2) @ states


def attended(candidates: Tensor, vectors: Tensor) -> Tensor:
    """Return the (queries, candidates) scores of (candidates, d) vectors that attend over (queries,
    m, d)."""
    found = (candidates @ vectors.transpose(1, 2)).softmax(2) @ vectors
    return (found * candidates).sum(2)


class PackedCandidates(nn.Module):
    """Uni-Encoder: each query in one sequence with its relevant document and its negatives.

    Song et al., Uni-Encoder, Findings of ACL 2023 (arXiv:2106.01263), without the auxiliary masked
    language modelling loss.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        width = model[0].auto_model.config.hidden_size
        packed(model[0].auto_model)
        self.model, self.head = model, nn.Linear(width, 1)

    def forward(self, sentence_features: Any, labels: Any = None) -> Tensor:
        columns = [list(_unpadded(features)) for features in sentence_features]
        scores = torch.stack(
            [self.scores(context, rows) for context, *rows in zip(*columns, strict=True)]
        )
        return cross_entropy(scores, scores.new_zeros(len(scores), dtype=torch.long))

    def scores(self, context: Tensor, rows: Sequence[Tensor]) -> Tensor:
        """Return the scores of the candidates of one query."""
        layout = Layout.of(len(context), [len(row) for row in rows], context.device, "arrow")
        ids = torch.cat([context, *rows])
        found: Tensor = packed_scores(self.model[0].auto_model, self._head, ids, layout)
        return found

    @property
    def _head(self) -> dict[str, Tensor]:
        return {"weight": self.head.weight[0], "bias": self.head.bias}

    def save(self, folder: Path) -> None:
        """Write the head beside the backbone."""
        found = {name: tensor.detach().cpu().contiguous() for name, tensor in self._head.items()}
        save_file(found, folder / EXTRA)


def _unpadded(features: Any) -> list[Tensor]:
    """Return the tokens of each text."""
    ids, masks = features["input_ids"], features["attention_mask"].bool()
    return [row[mask] for row, mask in zip(ids, masks, strict=True)]
