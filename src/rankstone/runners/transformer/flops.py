"""Nominal floating-point operations of a transformer, computed instead of measured."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rankstone.runners.meter import Work


class Costs(NamedTuple):
    """Sizes that determine the floating-point operations of a transformer."""

    weights: int
    """Weights of linear maps, each with one multiply-add per token."""
    layers: int
    """Layers in which every token attends to every other."""
    width: int
    """Total dimensions of a layer's attention heads."""
    local_layers: int = 0
    """Layers with local attention."""
    window: int = 0
    """Tokens attended to in local attention."""

    def work(self, lengths: NDArray[np.int64], attended: float | None = None) -> Work:
        """Return the work for one sequence per length."""
        return Work(len(lengths), int(lengths.sum()), self.flops(lengths, attended))

    def flops(self, lengths: NDArray[np.int64], attended: float | None = None) -> float:
        """Return the operations for sequences of these lengths; a multiply-add is two.

        A token costs 2 x weights, and a text of T tokens 4 x T^2 x width per layer: T^2 inner
        products of queries with keys, and as many weighted sums of values; T x window of each in a
        layer of local attention. Norms, softmax etc. are left out, as usual (Kaplan et al., Scaling
        Laws for Neural Language Models, 2020, section 2.1); so are a pooler, which reads one token,
        and the convolution and scan of a state-space layer (Mamba), which at the widths of released
        models are about 3% of the linear maps.

        Args:
            attended: number of (query, key) pairs, unless every token attends to all tokens of its
            sequence.
        """
        n = lengths.astype(np.float64)
        near = self.local_layers * float((n * np.minimum(n, self.window)).sum())
        full = self.layers * (float((n**2).sum()) if attended is None else attended)
        return 2 * self.weights * float(n.sum()) + 4 * self.width * (full + near)


def costs(model: Any, vocabulary: int = 0) -> Costs:
    """Return the costs of a torch network, from its linear maps and its configuration.

    Args:
        model: a transformers module.
        vocabulary: weights of a map onto the vocabulary that is not one of its modules.
    """
    from torch import nn

    linear = [
        module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and "pooler" not in name.split(".")
    ]  # a pooler reads one token
    settings = next(m.config for m in model.modules() if hasattr(m, "config"))
    stack = layers(model, settings)
    heads = getattr(settings, "num_attention_heads", None) or getattr(settings, "n_heads", None)
    n_layers = len(stack) if stack is not None and heads else 0
    kinds = (getattr(settings, "layer_types", None) or [])[:n_layers]
    local = kinds.count("sliding_attention")
    window = getattr(settings, "local_attention", None) or getattr(settings, "sliding_window", 0)
    return Costs(
        weights=sum(module.weight.numel() for module in linear) + vocabulary,
        layers=n_layers - local,
        width=(heads or 0) * (getattr(settings, "head_dim", None) or 0)
        or int(getattr(settings, "hidden_size", 0)),
        local_layers=local,
        window=int(window or 0) if local else 0,
    )


def layers(model: Any, settings: Any) -> Any:
    """Return the layers: the outermost list of the configured length; None without one."""
    from torch import nn

    n = getattr(settings, "num_hidden_layers", None) or getattr(settings, "n_layers", None)
    lists = (m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m) == n)
    return next(lists, None)
