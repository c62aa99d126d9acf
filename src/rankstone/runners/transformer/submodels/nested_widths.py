"""MatFormer's nested sub-models: the first units of feed-forward networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rankstone.errors import DefinitionError, ModelError
from rankstone.runners.transformer.flops import layers

SIZES = ("intermediate_size", "hidden_dim", "d_ff", "ffn_dim", "encoder_ffn_dim")
"""Names of the number of units in transformers configurations."""


def narrow(model: Any, shares: float | Sequence[float], name: str) -> None:
    """Keep a share of each layer's feed-forward units, the first ones.

    Devvrit et al., MatFormer: Nested Transformer for Elastic Inference, NeurIPS 2024,
    arXiv:2310.07707, section 3.1: FFN_g(x) = act(x W1[0:m_g]^T) W2[:, 0:m_g]^T. The share may
    differ between layers (Mix'n'Match, section 3.2).
    """
    stack = layers(model, model.config)
    n_layers = 0 if stack is None else len(stack)
    own = [shares] * n_layers if isinstance(shares, float | int) else list(shares)
    if not n_layers or len(own) != n_layers:
        raise DefinitionError(
            f"key 'parameters.feed_forward': {len(own)} shares, but '{name}' has {n_layers} layers."
            " State one share, or one for each layer."
        )
    size = next((n for key in SIZES if (n := getattr(model.config, key, None))), 0)
    for layer, share in zip(stack, own, strict=True):
        _narrow_layer(layer, int(size), max(round(share * size), 1), name)


def _narrow_layer(layer: Any, size: int, units: int, name: str) -> None:
    from torch import nn

    maps = [m for m in layer.modules() if isinstance(m, nn.Linear)]
    inward = [m for m in maps if m.out_features == size != m.in_features]
    outward = [m for m in maps if m.in_features == size != m.out_features]
    if not inward or len(outward) != 1:
        raise ModelError(
            f"Model '{name}': no feed-forward networks of linear maps to and from {size} units,"
            " which the key 'parameters.feed_forward' needs. Remove it."
        )
    for module in inward:
        module.weight = nn.Parameter(module.weight[:units].detach().clone())
        if module.bias is not None:
            module.bias = nn.Parameter(module.bias[:units].detach().clone())
        module.out_features = units
    (last,) = outward
    last.weight = nn.Parameter(last.weight[:, :units].detach().clone())
    last.in_features = units
