"""The vocabulary's side of a masked language model, pooled over the tokens of one text.

Imports torch: import this inside functions.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from rankstone.runners.transformer.backbone import Vocabulary, Weights

PIECE = 1024
"""Entries of the vocabulary taken together on a CPU: the logits of a text stay in its cache."""


class Decoder(nn.Module):
    """(length, dim) hidden states of one text -> (vocabulary,) values, as `Vocabulary` says.

    The logits of all tokens never exist at once. log1p(relu(x)) rises with x and the bias is the
    same for all tokens, so the greatest logit is all that max pooling needs.
    """

    def __init__(self, head: Weights, vocabulary: Vocabulary, *, piece: int = PIECE) -> None:
        super().__init__()
        weight = torch.from_numpy(np.ascontiguousarray(head["decoder.weight"]))
        bias = head.get("decoder.bias")
        given = torch.zeros(len(weight)) if bias is None else torch.from_numpy(bias.copy())
        self.sum_of = vocabulary.sum_of
        self.weights = nn.ParameterList(_fixed(part) for part in torch.split(weight, piece))
        self.biases = nn.ParameterList(_fixed(part) for part in torch.split(given, piece))

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        pairs = zip(self.weights, self.biases, strict=True)
        return torch.cat([self._pooled(states @ weight.T, bias) for weight, bias in pairs])

    def _pooled(self, logits: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        if self.sum_of is None:
            return logits.amax(0) + bias
        activated = torch.log1p(torch.relu(logits + bias))
        if self.sum_of == "log1p2":
            activated = torch.log1p(activated)
        return activated.sum(0)


def _fixed(weight: torch.Tensor) -> nn.Parameter:
    return nn.Parameter(weight, requires_grad=False)
