"""Losses for parts of a network that are used by themselves: early exits and narrow layers.

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
    """sum over exits i of i / L times the loss of the vectors pooled after layer i of L.

    Of ModularStarEncoder (arXiv:2503.03008). The pooled layers share the modules behind the
    transformer. With `distillation`, an earlier exit learns from the last as well, as Zhang et al.
    have it (Be Your Own Teacher, ICCV 2019, arXiv:1905.08094): to its loss is added
    KL(p_L || p_i), where p_i are the softmax shares of the batch's documents for each query, and
    the last exit learns nothing from it.

    Args:
        loss: A loss of the library that can be computed from vectors.
        exits: Layers, counted from 1; the last is added where it is left out.
        distillation: Weight of the divergence beside an exit's loss; 0: none.
        temperature: Divisor of the scores in the shares.
        similarity: `cosine` or `dot`: the scores of these.
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
        """Return (queries, documents) logarithms of the shares."""
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
    """Return the mean over rows of KL(teacher || student), both in logarithms."""
    return nn.functional.kl_div(student, teacher, reduction="batchmean", log_target=True)


class NestedWidths(nn.Module):
    """The loss of the network with feed-forward layers of a width that is drawn at each step.

    MatFormer (Devvrit et al., arXiv:2310.07707): a narrower network is the first hidden units of
    every feed-forward layer.

    Args:
        widths: Shares of the hidden units, of which one is drawn with equal chance.
    """

    def __init__(self, model: Any, loss: nn.Module, widths: Sequence[float]) -> None:
        super().__init__()
        self.model, self.loss = model, loss
        if not widths or not all(0 < share <= 1 for share in widths):
            raise ValueError(f"widths {list(widths)} are no shares of a layer")
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
        ValueError: the network has no layers of BERT's kind, named `intermediate`.
    """
    layers = [m for name, m in model.named_modules() if name.endswith(".intermediate")]
    if not layers:
        raise ValueError("a network whose feed-forward layers are not BERT's cannot be narrowed")

    def first_units(module: nn.Module, arguments: Any, output: Tensor) -> Tensor:
        kept = max(1, round(share * output.shape[-1]))
        return torch.cat([output[..., :kept], torch.zeros_like(output[..., kept:])], dim=-1)

    handles = [layer.register_forward_hook(first_units) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
