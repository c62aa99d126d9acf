"""Floating-point operations of a transformer, by definition and not by measurement."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rankstone.runners.meter import Work


class Costs(NamedTuple):
    """Sizes that the floating-point operations of a transformer follow from."""

    weights: int
    """Weights of its linear maps: each is multiplied and added once per token."""
    layers: int
    """Layers in which every token attends to every other."""
    width: int
    """Dimensions of all attention heads of a layer together."""
    local_layers: int = 0
    """Layers in which a token attends to those near it ..."""
    window: int = 0
    """... which are so many."""

    def work(self, lengths: NDArray[np.int64], attended: float | None = None) -> Work:
        """Work on one sequence per length."""
        return Work(len(lengths), int(lengths.sum()), self.flops(lengths, attended))

    def flops(self, lengths: NDArray[np.int64], attended: float | None = None) -> float:
        """Operations on sequences of so many tokens each; a multiply-add is two.

        A token costs 2 x weights, and a text of T tokens 4 x T^2 x width a layer: T^2 inner
        products of queries with keys, and as many sums of values; a layer of local attention T x
        window of each. Norms, softmax and the like are left out, as is usual (Kaplan et al.,
        Scaling Laws for Neural Language Models, 2020, section 2.1); so are a pooler, which sees one
        token, and the convolution and the scan of a state-space layer (Mamba), which at the widths
        of its released models are about 3% of what its linear maps take.

        Args:
            attended: (query, key) pairs of tokens that attend, where that is not every token to
                every other of its sequence.
        """
        n = lengths.astype(np.float64)
        near = self.local_layers * float((n * np.minimum(n, self.window)).sum())
        full = self.layers * (float((n**2).sum()) if attended is None else attended)
        return 2 * self.weights * float(n.sum()) + 4 * self.width * (full + near)


def costs(model: Any, vocabulary: int = 0) -> Costs:
    """Costs of a torch network, read off its linear maps and its settings.

    Args:
        model: a module of transformers.
        vocabulary: weights of a map onto the vocabulary that is not among its modules.
    """
    from torch import nn

    linear = [
        module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and "pooler" not in name.split(".")
    ]  # a pooler sees one token
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
    """The stack of layers, the outermost list as long as the settings say; None without one."""
    from torch import nn

    n = getattr(settings, "num_hidden_layers", None) or getattr(settings, "n_layers", None)
    lists = (m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m) == n)
    return next(lists, None)
