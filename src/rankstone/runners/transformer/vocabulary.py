"""Networks over a vocabulary, pooled per text. Imports torch: import this inside functions.

Hidden states of a batch and the map onto the vocabulary are two networks: the batch x length x
vocabulary logits are never materialised, which is faster on a CPU and takes less memory.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from sentence_transformers import SparseEncoder
from sentence_transformers.sparse_encoder.modules import SpladePooling
from torch import nn

from rankstone.errors import ModelError
from rankstone.runners.transformer import loading
from rankstone.runners.transformer.checkpoint_files import UnusableError
from rankstone.runners.transformer.network import Array, Loaded, Network
from rankstone.runners.transformer.vectors import States

PIECE = 1024
"""Vocabulary entries computed at once on a CPU: a text's logits stay in the cache."""
ACTIVATIONS: dict[str, Any] = {"log1p": "relu", "log1p2": "log1p_relu"}
"""Our names of activations -> the library's."""


class Decoder(nn.Module):
    """(length, dim) hidden states of one text -> (vocabulary,) values.

    The full matrix of logits is never materialised. log1p(relu(x)) is monotonic and the bias is the
    same for all tokens, so max pooling needs only the largest logit.
    """

    def __init__(
        self, weight: torch.Tensor, bias: torch.Tensor | None, *, sum_of: str | None = None
    ) -> None:
        """
        Args:
            weight: (vocabulary, dim)
            bias: (vocabulary,)
            sum_of: the activation to sum over tokens; None: the largest logit.
        """
        super().__init__()
        given = torch.zeros(len(weight)) if bias is None else bias
        self.sum_of = sum_of
        self.weights = nn.ParameterList(_fixed(part) for part in torch.split(weight, PIECE))
        self.biases = nn.ParameterList(_fixed(part) for part in torch.split(given, PIECE))

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
    return nn.Parameter(weight.detach().contiguous().clone(), requires_grad=False)


class Both(nn.Module):
    """(ids, mask) -> the last layer's states concatenated with the head's."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.backbone = model

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        output = self.backbone(input_ids=ids, attention_mask=mask, output_hidden_states=True)
        return torch.cat([output.hidden_states[-1], output[0]], dim=-1).float()


class Projected(nn.Module):
    """The states of one text from `Both` -> a short vector and vocabulary values, concatenated.

    The first token's state is projected; vocabulary values are over all tokens except the first.
    """

    def __init__(self, short: torch.Tensor, bias: torch.Tensor | None, decoder: Decoder) -> None:
        super().__init__()
        self.short = nn.Linear(short.shape[1], short.shape[0], bias=bias is not None)
        self.short.weight = _fixed(short)
        if bias is not None:
            self.short.bias = _fixed(bias)
        self.decoder = decoder

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        width = self.short.in_features
        return torch.cat([self.short(states[0, :width]), self.decoder(states[1:, width:])])


def whole_splade(network: Network, pooling: str | None, activation: str | None) -> Any:
    """Return the library's SparseEncoder: a masked language model with pooled logits."""
    return _whole(_opened(network), pooling, activation)


def load_splade(network: Network, pooling: str | None, activation: str | None) -> Loaded:
    """Load a masked language model whose logits are pooled, as the library's SparseEncoder."""
    model = _opened(network)
    whole = _whole(model, pooling, activation)
    transformer, own = whole[0], whole[1]
    projection = transformer.auto_model.get_output_embeddings()
    activations = {theirs: ours for ours, theirs in ACTIVATIONS.items()}
    summed = activations[own.activation_function] if own.pooling_strategy == "sum" else None
    decoder = Decoder(projection.weight, projection.bias, sum_of=summed)
    places = _taken_off(transformer.auto_model, projection)

    def oracle(texts: Sequence[str], prompt: str) -> Array:
        with _put_back(places, projection):
            rows = whole.encode(
                list(texts), prompt=prompt, batch_size=len(texts), show_progress_bar=False,
                convert_to_tensor=True, convert_to_sparse_tensor=False,
            )  # fmt: skip
            values: Array = rows.numpy()
            return values

    return Loaded(
        model=whole,
        network=States(transformer.auto_model).eval(),
        decoder=decoder,
        facts=loading.facts(model, words=projection.weight, more=[own]),
        tokenizer=transformer.tokenizer,
        oracle=oracle,
    )


def _opened(network: Network) -> Any:
    model: Any = loading.checkpoint(network, SparseEncoder)
    if model is None:
        model = SparseEncoder(modules=[loading.plain(network, "fill-mask")], device="cpu")
    kinds = [type(module).__name__ for module in loading.behind(model)]
    if kinds not in ([], ["SpladePooling"]):
        raise UnusableError(
            f"its modules {', '.join(kinds)} are not those of a masked language model whose logits"
            " are pooled. Name a model of that kind, or another adapter"
        )
    return model


def _whole(model: Any, pooling: str | None, activation: str | None) -> Any:
    modules = [loading.first(model), _pooling(model, pooling, activation)]
    return SparseEncoder(modules=modules, device="cpu", prompts=model.prompts).eval()


def _pooling(model: Any, pooling: Any, activation: str | None) -> SpladePooling:
    """Return the checkpoint's pooling, with the definition's changes."""
    own = next(iter(loading.behind(model)), SpladePooling())
    function = ACTIVATIONS[activation] if activation else own.activation_function
    return SpladePooling(pooling or own.pooling_strategy, function)


def load_tied(network: Network, skip: int, norm_name: str) -> Loaded:
    """Load a bare encoder with another layer norm, over its own word embeddings."""
    transformer = loading.plain(network, "feature-extraction")
    net = transformer.auto_model
    words = net.get_input_embeddings().weight[skip:]
    norm = nn.LayerNorm(words.shape[1])
    norm.weight.data = loading.named(network, norm_name)
    norm.bias.data = loading.named(network, norm_name, "bias")
    return _over_words(transformer, States(net, norm=norm), Decoder(words, None), words)


def load_short_and_words(network: Network, name: str) -> Loaded:
    """Load a masked language model with pooled logits and a projection of the first token."""
    transformer = loading.plain(network, "fill-mask")
    net = transformer.auto_model
    projection = net.get_output_embeddings()
    short = loading.named(network, name)
    if short.dim() != 2:
        raise ModelError(
            f"Model '{network.model.id}': '{name}' is not a linear map."
            " Correct parameters.projection."
        )
    bias = loading.state(network.model.folder).get(f"{name}.bias")
    decoder = Projected(short, bias, Decoder(projection.weight, projection.bias))
    _taken_off(net, projection)
    return _over_words(transformer, Both(net), decoder, projection.weight)


def _over_words(
    transformer: Any, states: nn.Module, decoder: nn.Module, words: torch.Tensor
) -> Loaded:
    model = SparseEncoder(modules=[transformer], device="cpu")
    return Loaded(
        model=model,
        network=states.eval(),
        decoder=decoder.eval(),
        facts=loading.facts(model, words=words),
        tokenizer=transformer.tokenizer,
    )


def _taken_off(model: nn.Module, projection: nn.Module) -> list[tuple[nn.Module, str]]:
    """Remove the map onto the vocabulary; return the modules and names where it was."""
    places = [
        (m, n) for m in model.modules() for n, child in m.named_children() if child is projection
    ]
    for module, name in places:  # not by set_output_embeddings: BERT's wants a bias of the new one
        setattr(module, name, nn.Identity())
    return places


@contextlib.contextmanager
def _put_back(places: Sequence[tuple[nn.Module, str]], projection: nn.Module) -> Iterator[None]:
    """Restore the model as loaded by the library, inside the block."""
    for module, name in places:
        setattr(module, name, projection)
    try:
        yield
    finally:
        for module, name in places:
            setattr(module, name, nn.Identity())
