"""Networks of torch made of a model's files. Imports torch: import this inside functions."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from torch import nn
from transformers import AutoConfig, AutoModelForMaskedLM

from rankstone.errors import DefinitionError, ModelError
from rankstone.runners.transformer.backbone import Backbone, Costs, Vocabulary, Weights


class Hidden(nn.Module):
    """(ids, mask) -> (n, length, dim) of any transformer, as plain tensors."""

    def __init__(
        self, model: nn.Module, head: Weights, backbone: Backbone, norm: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.model = model
        self.head = head
        """Weights of what follows the hidden states: `pooler` or `decoder`, if there is one."""
        self.norm = norm or nn.Identity()
        self._both = backbone.task == "both"
        self._output, self._index = backbone.output, backbone.output_index

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        if self._both:
            output = self.model(input_ids=ids, attention_mask=mask, output_hidden_states=True)
            return torch.cat([output.hidden_states[-1], output[0]], dim=-1)
        output = self.model(input_ids=ids, attention_mask=mask)
        found: Any = output[0 if self._output is None else self._output]
        if isinstance(found, (list, tuple)):
            found = found[self._index]
        states: torch.Tensor = self.norm(found[:, None] if found.dim() == 2 else found)
        return states


def network(backbone: Backbone) -> Hidden:
    """The network that `backbone` names, for inference."""
    model = _pretrained(backbone)
    if backbone.exit_layer is not None:
        _cut(model, backbone.exit_layer, backbone.model.id)
    words = backbone.vocabulary or Vocabulary()
    head = _head(model, backbone.task, words.skip)
    norm = _norm(backbone, words.norm) if words.norm else None
    return Hidden(model, head, backbone, norm).eval()


def costs(model: nn.Module) -> Costs:
    """Read off the linear maps and the settings of `model`."""
    linear = (m for name, m in model.named_modules() if _is_per_token(name, m))
    settings = next(m.config for m in model.modules() if hasattr(m, "config"))
    stack = _layers(model, settings)
    heads = getattr(settings, "num_attention_heads", None) or getattr(settings, "n_heads", None)
    n_layers = len(stack) if stack is not None and heads else 0
    kinds = (getattr(settings, "layer_types", None) or [])[:n_layers]
    local = kinds.count("sliding_attention")
    window = getattr(settings, "local_attention", None) or getattr(settings, "sliding_window", 0)
    decoder = model.head.get("decoder.weight") if isinstance(model, Hidden) else None
    return Costs(
        weights=sum(m.weight.numel() for m in linear) + (0 if decoder is None else decoder.size),
        layers=n_layers - local,
        width=(heads or 0) * (getattr(settings, "head_dim", None) or 0)
        or int(getattr(settings, "hidden_size", 0)),
        local_layers=local,
        window=int(window or 0) if local else 0,
    )


def _is_per_token(name: str, module: nn.Module) -> bool:
    """Whether it is a linear map that every token goes through; a pooler sees one."""
    return isinstance(module, nn.Linear) and "pooler" not in name.split(".")


def _pretrained(backbone: Backbone) -> Any:
    masked = backbone.task in ("mlm", "both")
    kind = AutoModelForMaskedLM if masked else _class(backbone)
    shared = {"local_files_only": True, "trust_remote_code": backbone.trust_remote_code}
    if backbone.part:
        values = {**backbone.settings, "model_type": backbone.architecture or "bert"}
        config = AutoConfig.for_model(**values)
    else:
        config = AutoConfig.from_pretrained(backbone.model.folder, **shared)
        if backbone.architecture:
            values = {**config.to_dict(), "model_type": backbone.architecture}
            config = AutoConfig.for_model(**values)
    if not backbone.prefix:
        model, about = kind.from_pretrained(
            backbone.model.folder,
            config=config,
            dtype=torch.float32,
            output_loading_info=True,
            **shared,
        )
        _check_missing(model, about["missing_keys"], backbone)
        return model
    model = kind.from_config(config, dtype=torch.float32)
    _fill(model, backbone)
    return model


def _class(backbone: Backbone) -> Any:
    kind = getattr(transformers, backbone.auto_class, None)
    if kind is None or not backbone.auto_class.startswith("AutoModel"):
        raise DefinitionError(
            f"key 'parameters.auto_class': transformers has no '{backbone.auto_class}'. Name one"
            " of its AutoModel classes."
        )
    return kind


def _fill(model: Any, backbone: Backbone) -> None:
    """Load the weights under the prefix."""
    prefix = backbone.prefix
    found = {
        name.removeprefix(prefix): tensor
        for name, tensor in state(backbone.model.folder).items()
        if name.startswith(prefix)
    }
    missing, _ = model.load_state_dict(found, strict=False)
    _check_missing(model, missing, backbone)


def _check_missing(model: Any, missing: Iterable[str], backbone: Backbone) -> None:
    """Random numbers would stand in for a weight that is missing: an error, or no pooler."""
    if any("pooler" in name for name in missing):
        model.pooler = None
    needed = [n for n in sorted(missing) if not n.endswith("position_ids") and "pooler" not in n]
    if needed:
        raise ModelError(
            f"Model '{backbone.model.id}': no weights '{backbone.prefix}{needed[0]}' in"
            f" {backbone.model.folder} ({len(needed)} missing). Correct the prefix, or fetch the"
            " model again."
        )


def state(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of the folder's weights; pickles are read as data, never run as code."""
    from safetensors.torch import load_file

    tensors: dict[str, torch.Tensor] = {}
    files = sorted(folder.glob("*.safetensors"))
    for path in files:
        tensors |= load_file(path)
    pickles = sorted(folder.glob("pytorch_model*.bin")) or sorted(folder.glob("*.bin"))
    for path in () if files else pickles:
        tensors |= torch.load(path, map_location="cpu", weights_only=True)
    return tensors


def _layers(model: nn.Module, settings: Any) -> nn.ModuleList | None:
    """The stack of layers: the outermost list as long as the settings say."""
    n = getattr(settings, "num_hidden_layers", None) or getattr(settings, "n_layers", None)
    lists = (m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m) == n)
    return next(lists, None)


def _cut(model: Any, exit_layer: int, name: str) -> None:
    stack = _layers(model, model.config)
    if stack is None or not 1 <= exit_layer <= len(stack):
        depth = "no layers to leave after" if stack is None else f"{len(stack)} layers"
        raise DefinitionError(
            f"key 'parameters.exit_layer': {exit_layer}, but '{name}' has {depth}. Correct it."
        )
    del stack[exit_layer:]
    model.config.num_hidden_layers = exit_layer


def _head(model: Any, task: str, skip: int) -> Weights:
    """What follows the hidden states; of a vocabulary, without its first `skip` entries."""
    if task == "hidden":
        return _pooler(model)
    if task == "tied":
        return {"decoder.weight": _array(model.get_input_embeddings().weight)[skip:]}
    return {name: weight[skip:] for name, weight in _decoder(model).items()}


def _pooler(model: Any) -> Weights:
    dense = getattr(getattr(model, "pooler", None), "dense", None)
    return _linear("pooler", dense) if isinstance(dense, nn.Linear) else {}


def _decoder(model: Any) -> Weights:
    """Take the map onto the vocabulary off the model, and give its weights."""
    decoder = model.get_output_embeddings()
    weights = _linear("decoder", decoder)
    places = [
        (m, n) for m in model.modules() for n, child in m.named_children() if child is decoder
    ]
    for module, name in places:  # not by set_output_embeddings: BERT's wants a bias of the new one
        setattr(module, name, nn.Identity())
    return weights


def _linear(name: str, linear: nn.Linear) -> Weights:
    weights = {f"{name}.weight": _array(linear.weight)}
    if linear.bias is not None:
        weights[f"{name}.bias"] = _array(linear.bias)
    return weights


def _array(weight: torch.Tensor) -> NDArray[np.float32]:
    found: NDArray[np.float32] = weight.detach().numpy()
    return found


def _norm(backbone: Backbone, name: str) -> nn.LayerNorm:
    """The layer norm that the weights `name` are of."""
    found = state(backbone.model.folder)
    weights = {key: found.get(f"{name}.{key}") for key in ("weight", "bias")}
    if weights["weight"] is None or weights["bias"] is None:
        raise ModelError(
            f"Model '{backbone.model.id}': no weights '{name}' in {backbone.model.folder}."
            " Fetch the model again."
        )
    norm = nn.LayerNorm(len(weights["weight"]))
    norm.load_state_dict(weights)
    return norm
