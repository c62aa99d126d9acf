"""From a transformer's hidden states to one vector per text: pooling and what follows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rankstone.errors import ModelError
from rankstone.runners.models import LocatedModel
from rankstone.runners.transformer.backbone import Weights, read_json
from rankstone.runners.transformer.tokens import Ids

Pooling = Literal["cls", "mean", "last", "max", "pooler", "own"]
Array = NDArray[np.float32]

SENTENCE_POOLING: dict[str, Pooling] = {
    "cls": "cls", "mean": "mean", "lasttoken": "last", "max": "max",
    "pooling_mode_cls_token": "cls", "pooling_mode_mean_tokens": "mean",
    "pooling_mode_lasttoken": "last", "pooling_mode_max_tokens": "max",
}  # fmt: skip
"""Names of sentence-transformers, new and old."""
ACTIVATIONS: dict[str, Callable[[Array], Array]] = {"Identity": lambda x: x, "Tanh": np.tanh}


def pool(hidden: Array, mask: Ids, pooling: Pooling, weights: Weights) -> Array:
    """(n, dim) vectors of (n, length, dim) hidden states; (n, length) `mask` is 0 at padding.

    Padding stands behind a text, so its first token is at 0. `own`: the model pooled by itself, and
    the one state of each text is its vector.
    """
    pooled: Array
    if pooling in ("cls", "own"):
        pooled = hidden[:, 0]
    elif pooling == "last":
        pooled = hidden[np.arange(len(hidden)), mask.sum(axis=1) - 1]
    elif pooling == "max":
        pooled = np.where(mask[..., None] > 0, hidden, -np.inf).max(axis=1)
    elif pooling == "pooler":
        if "pooler.weight" not in weights:
            raise ModelError("the model has no pooler. Choose another parameters.pooling.")
        pooled = np.tanh(hidden[:, 0] @ weights["pooler.weight"].T + weights["pooler.bias"])
    else:
        # A product per text: no masked copy of the states is made.
        shares = (mask / mask.sum(axis=1, keepdims=True)).astype(np.float32)
        pooled = (shares[:, None, :] @ hidden)[:, 0]
    return pooled


@dataclass(frozen=True)
class Linear:
    """x W^T + b, then an activation."""

    weight: Array
    bias: Array | None
    activation: str

    def __call__(self, x: Array) -> Array:
        y = x @ self.weight.T
        y = y if self.bias is None else y + self.bias
        return ACTIVATIONS[self.activation](y)


@dataclass(frozen=True)
class LayerNorm:
    """(x - mean) / sqrt(variance + eps) * weight + bias, over the dimensions of a vector."""

    weight: Array
    bias: Array
    eps: float = 1e-5

    def __call__(self, x: Array) -> Array:
        centred = x - x.mean(axis=1, keepdims=True)
        scale = np.sqrt((centred**2).mean(axis=1, keepdims=True) + self.eps)
        normal: Array = centred / scale * self.weight + self.bias
        return normal


class Head(NamedTuple):
    """What sentence-transformers' settings say of a model."""

    pooling: Pooling | None = None
    steps: tuple[Linear | LayerNorm, ...] = ()
    normalize: bool = False
    """Whether vectors are scaled to unit length at the end."""


def sentence_head(model: LocatedModel) -> Head:
    """The modules behind the transformer that `modules.json` lists; none where there is none.

    Raises ModelError where there is a module that is not understood.
    """
    listing = model.folder / "modules.json"
    if not listing.is_file():
        return Head()
    pooling: Pooling | None = None
    steps: list[Linear | LayerNorm] = []
    normalize = False
    for module in read_list(listing):
        kind = module["type"].rpartition(".")[2]
        if kind in ("Transformer", "Dropout"):
            continue
        if kind == "Normalize":
            normalize = True
            continue
        folder = model.folder / module["path"]
        config = read_json(folder / "config.json")
        if kind == "Pooling":
            pooling = _pooling(config, model)
        elif kind == "Dense":
            steps.append(_dense(config, _weights(folder, model)))
        elif kind == "LayerNorm":
            weights = _weights(folder, model)
            steps.append(LayerNorm(weights["norm.weight"], weights["norm.bias"]))
        else:
            raise ModelError(f"Model '{model.id}': its module '{kind}' is not understood.")
    return Head(pooling, tuple(steps), normalize)


def named_steps(model: LocatedModel, names: Sequence[str]) -> list[Linear | LayerNorm]:
    """Modules behind the pooling that the model's own weights hold, by name.

    `name.weight` of two dimensions is a linear map, of one a layer norm.

    Raises ModelError where there is no such weight.
    """
    if not names:
        return []
    weights = _weights(model.folder, model)
    steps: list[Linear | LayerNorm] = []
    for name in names:
        weight, bias = weights.get(f"{name}.weight"), weights.get(f"{name}.bias")
        if weight is not None and weight.ndim == 2:
            steps.append(Linear(weight, bias, "Identity"))
        elif weight is not None and bias is not None:
            steps.append(LayerNorm(weight, bias))
        else:
            raise ModelError(
                f"Model '{model.id}': no weights '{name}.weight' in {model.folder}."
                " Correct parameters.projection."
            )
    return steps


def read_list(path: Any) -> list[dict[str, Any]]:
    import json

    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _pooling(config: dict[str, Any], model: LocatedModel) -> Pooling:
    mode = config.get("pooling_mode")
    modes = [mode] if isinstance(mode, str) else list(mode or ())
    modes += [key for key, on in config.items() if key.startswith("pooling_mode_") and on is True]
    if (
        len(modes) != 1
        or modes[0] not in SENTENCE_POOLING
        or not config.get("include_prompt", True)
    ):
        raise ModelError(
            f"Model '{model.id}': its pooling {modes} is not understood."
            " State one: parameters.pooling."
        )
    return SENTENCE_POOLING[modes[0]]


def _dense(config: dict[str, Any], weights: Weights) -> Linear:
    activation = str(config.get("activation_function", "torch.nn.modules.activation.Tanh"))
    name = activation.rpartition(".")[2]
    if name not in ACTIVATIONS:
        raise ModelError(f"the activation '{activation}' of a Dense module is not understood.")
    return Linear(weights["linear.weight"], weights.get("linear.bias"), name)


def _weights(folder: Any, model: LocatedModel) -> Weights:
    from safetensors.numpy import load_file

    found: dict[str, Array] = {}
    for path in sorted(folder.glob("*.safetensors")):
        found |= load_file(path)
    if not found:
        from rankstone.runners.transformer.networks import state

        found = {name: tensor.numpy() for name, tensor in state(folder).items()}
    if not found:
        raise ModelError(f"Model '{model.id}': no weights in {folder}. Fetch the model again.")
    return found
