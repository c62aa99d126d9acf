"""Losses for sub-networks: early exits and narrower layers.

Imports torch: import this inside functions.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rankstone.training.losses.in_batch import in_batch_scores


class WeightedExits(nn.Module):
    """Weighted sum of the losses at early exits: sum over exits i of (i / L) loss_i, for L layers.

    The loss of ModularStarEncoder (arXiv:2503.03008); loss_i is computed from the vectors pooled
    after layer i, and all exits share the modules that follow the transformer. With `distillation`,
    earlier exits also learn from the last (Zhang et al., Be Your Own Teacher, ICCV 2019,
    arXiv:1905.08094): KL(p_L || p_i) is added to their losses, where p_i is the softmax over the
    batch's documents for each query, and the last exit receives no gradient from it.

    Args:
        loss: A loss of the library that can be computed from vectors.
        exits: Layers, counted from 1; the last layer is always added.
        distillation: Weight of the divergence; 0 for none.
        temperature: Divisor of the scores in the softmax.
        similarity: `cosine` or `dot`.
    """

    def __init__(
        self, model: Any, loss: Any, exits: Sequence[int], similarity: str,
        distillation: float = 0.0, temperature: float = 0.05,
    ) -> None:  # fmt: skip
        super().__init__()
        self.model, self.loss, self.similarity = model, loss, similarity
        self.distillation, self.temperature = distillation, temperature
        self.depth = int(model[0].auto_model.config.num_hidden_layers)
        if not exits or not all(1 <= one <= self.depth for one in exits):
            raise ValueError(f"exits {list(exits)} of a network with {self.depth} layers")
        self.exits = sorted({*exits, self.depth})

    def forward(self, sentence_features: Any, labels: Tensor) -> Tensor:
        columns = [self._vectors(features) for features in sentence_features]
        last = self._shares([found[-1] for found in columns]).detach()
        total = torch.zeros((), device=last.device)
        for number, one in enumerate(self.exits):
            vectors = [found[number] for found in columns]
            found = self.loss.compute_loss_from_embeddings(vectors, labels)
            if self.distillation and one < self.depth:
                found = found + self.distillation * _divergence(last, self._shares(vectors))
            total = total + one / self.depth * found
        return total

    def _shares(self, vectors: list[Tensor]) -> Tensor:
        """Return the (queries, documents) log-softmax of the in-batch scores."""
        queries, documents = vectors[0], torch.cat(vectors[1:])
        scores = in_batch_scores(queries, documents, self.similarity)
        return (scores / self.temperature).log_softmax(1)

    def _vectors(self, features: dict[str, Any]) -> list[Tensor]:
        """Return the vectors of the texts at each exit."""
        config = self.model[0].auto_model.config
        before = config.output_hidden_states
        config.output_hidden_states = True
        try:
            features = self.model[0](features)
        finally:
            config.output_hidden_states = before
        layers = features["all_layer_embeddings"]
        found = []
        for one in self.exits:
            output = {**features, "token_embeddings": layers[one]}
            for module in list(self.model)[1:]:
                output = module(output)
            found.append(output["sentence_embedding"])
        return found


def _divergence(teacher: Tensor, student: Tensor) -> Tensor:
    """Return the mean over rows of KL(teacher || student), both given as log-probabilities."""
    return nn.functional.kl_div(student, teacher, reduction="batchmean", log_target=True)


class NestedWidths(nn.Module):
    """A loss computed with feed-forward layers of a random width at each step.

    MatFormer (Devvrit et al., arXiv:2310.07707): a narrower network consists of the first hidden
    units of every feed-forward layer.

    Args:
        widths: Fractions of the hidden units; one is drawn uniformly at each step.
    """

    def __init__(self, model: Any, loss: nn.Module, widths: Sequence[float]) -> None:
        super().__init__()
        self.model, self.loss = model, loss
        if not widths or not all(0 < share <= 1 for share in widths):
            raise ValueError(f"widths {list(widths)}: expected fractions in (0, 1]")
        self.widths = tuple(widths)

    def forward(self, sentence_features: Any, labels: Tensor) -> Tensor:
        share = self.widths[int(torch.randint(len(self.widths), ()))]
        with narrowed(self.model, share):
            found: Tensor = self.loss(sentence_features, labels)
        return found


@contextlib.contextmanager
def narrowed(model: nn.Module, share: float) -> Iterator[None]:
    """Use only the first hidden units of every feed-forward layer while the block runs.

    Raises:
        ValueError: the network has no BERT-like layers named `intermediate`.
    """
    layers = [m for name, m in model.named_modules() if name.endswith(".intermediate")]
    if not layers:
        raise ValueError("only networks with BERT's feed-forward layers can be narrowed")

    def first_units(module: nn.Module, arguments: Any, output: Tensor) -> Tensor:
        kept = max(1, round(share * output.shape[-1]))
        return torch.cat([output[..., :kept], torch.zeros_like(output[..., kept:])], dim=-1)

    handles = [layer.register_forward_hook(first_units) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
