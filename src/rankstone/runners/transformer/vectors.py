"""Modules for one vector per text. Imports torch: import this inside functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Module, Normalize
from sentence_transformers.sentence_transformer.modules import LayerNorm, Pooling
from torch import nn

from rankstone.errors import DefinitionError, ModelError
from rankstone.runners.transformer import loading
from rankstone.runners.transformer.checkpoint_files import UnusableError
from rankstone.runners.transformer.network import Array, Loaded, Network

MODES = {"last": "lasttoken"}
"""Our names of poolings -> the library's, where they differ."""


class Weightless(Module):
    """A module without weights that changes a text's vector."""

    def forward(self, features: dict[str, Any], **more: Any) -> dict[str, Any]:
        vectors = features["sentence_embedding"]
        return {**features, "sentence_embedding": self.changed(vectors)}

    def changed(self, vectors: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def save(self, *args: Any, **more: Any) -> None:
        """Save nothing."""


class Standardise(Weightless):
    """(x - mean) / sqrt(variance + 1e-5) over the dimensions of a vector: a layer norm without
    weights."""

    def changed(self, vectors: torch.Tensor) -> torch.Tensor:
        return nn.functional.layer_norm(vectors, vectors.shape[-1:])


class Truncate(Weightless):
    """Keep the first dimensions of a vector."""

    config_keys = ["dimensions"]  # noqa: RUF012

    def __init__(self, dimensions: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.dimensions = dimensions

    def changed(self, vectors: torch.Tensor) -> torch.Tensor:
        return vectors[:, : self.dimensions]


class Vectors(nn.Module):
    """(ids, mask[, counted]) -> (n, dim) vectors by the library's modules.

    `counted` is 1 for pooled tokens, for models that exclude the prompt from pooling.
    """

    def __init__(self, transformer: Any, behind: Sequence[Any]) -> None:
        super().__init__()
        self.backbone, self.behind = transformer, nn.ModuleList(behind)

    def forward(
        self, ids: torch.Tensor, mask: torch.Tensor, counted: torch.Tensor | None = None
    ) -> torch.Tensor:
        features = self.backbone({"input_ids": ids, "attention_mask": mask})
        for name in ("token_embeddings", "sentence_embedding"):
            if name in features:
                features[name] = features[name].float()
        if counted is not None:
            features["attention_mask"] = counted
        for module in self.behind:
            features = module(features)
        vectors: torch.Tensor = features["sentence_embedding"]
        return vectors


class States(nn.Module):
    """(ids, mask) -> (n, length, dim): a network's output after further modules."""

    def __init__(self, model: nn.Module, *, norm: nn.Module | None = None) -> None:
        super().__init__()
        self.backbone, self.norm = model, norm or nn.Identity()

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        output = self.backbone(input_ids=ids, attention_mask=mask)
        states: torch.Tensor = self.norm(output[0].float())
        return states


class Changes(NamedTuple):
    """A definition's changes to a checkpoint's modules; None or empty: no change."""

    pooling: str | None
    projection: Sequence[str]
    layer_norm: bool
    dimensions: int | None
    normalize: bool | None
    prompt_pooled: bool | None


def load(network: Network, head: Changes) -> Loaded:
    """Load the network of one vector per text, with all modules after it."""
    model: Any = loading.checkpoint(network, SentenceTransformer)
    if model is None:
        transformer = loading.plain(network, "feature-extraction")
        model = SentenceTransformer(modules=[transformer], device="cpu")
    else:
        _check_routes(model)
    transformer, modules = loading.first(model), _modules(network, head, model)
    every = [transformer, *modules]
    whole = SentenceTransformer(modules=every, device="cpu", prompts=model.prompts).eval()
    _check_width(whole, modules, head, network)

    def oracle(texts: Sequence[str], prompt: str) -> Array:
        vectors: Array = whole.encode(
            list(texts), prompt=prompt, batch_size=len(texts), show_progress_bar=False
        )
        return vectors

    return Loaded(
        model=whole,
        network=Vectors(transformer, modules).eval(),
        facts=loading.facts(model, more=modules),
        tokenizer=transformer.tokenizer,
        oracle=oracle,
    )


def load_states(network: Network) -> Loaded:
    """Load a plain transformer whose output is its last hidden states (n, length, dim)."""
    transformer = loading.plain(network, "feature-extraction")
    model = SentenceTransformer(modules=[transformer], device="cpu")
    return Loaded(
        model=model,
        network=States(transformer.auto_model).eval(),
        facts=loading.facts(model),
        tokenizer=transformer.tokenizer,
    )


def _check_routes(model: Any) -> None:
    if model[0] is not loading.first(model):
        raise UnusableError(
            "its Router sends queries and documents through different modules. Save each way as a"
            " model of its own, and name that of queries as [query_model]"
        )


def _modules(network: Network, head: Changes, model: Any) -> list[Any]:
    """Return the modules after the transformer: the checkpoint's, with the definition's changes."""
    modules = _pooled(network, head, model)
    if head.prompt_pooled is not None:
        for module in modules:
            if isinstance(module, Pooling):
                module.include_prompt = head.prompt_pooled
    ours = [_named(network, name) for name in head.projection]
    ours += [Standardise()] if head.layer_norm else []  # type: ignore[no-untyped-call]
    ours += [Truncate(head.dimensions)] if head.dimensions is not None else []
    saved = getattr(model, "truncate_dim", None) if head.dimensions is None else None
    truncated = [Truncate(saved)] if saved is not None else []
    if head.normalize is None and not ours:
        return [*modules, *truncated]
    unit = bool(modules) and isinstance(modules[-1], Normalize)
    normalize = unit if head.normalize is None else head.normalize
    modules = modules[:-1] if unit else modules
    return [*modules, *ours, *truncated, *([Normalize()] if normalize else [])]


def _pooled(network: Network, head: Changes, model: Any) -> list[Any]:
    modules, transformer = loading.behind(model), loading.first(model)
    if head.pooling == "pooler":
        _take_pooler(transformer, network)
    if head.pooling in ("pooler", "own"):
        return [m for m in modules if not isinstance(m, Pooling)]
    old = [m for m in modules if isinstance(m, Pooling)]
    if head.pooling is None and not old and transformer.module_output_name == "token_embeddings":
        raise DefinitionError(
            f"Model '{network.model.id}' does not say how its vectors are pooled."
            " State it: parameters.pooling."
        )
    if head.pooling is None:
        return modules
    include = all(m.include_prompt for m in old)
    mode = MODES.get(head.pooling, head.pooling)
    pooling = Pooling(transformer.get_embedding_dimension(), mode, include_prompt=include)
    return [pooling if m in old else m for m in modules] if old else [pooling, *modules]


def _take_pooler(transformer: Any, network: Network) -> None:
    """Use BERT's tanh(W h + b) of the first token as the text's vector."""
    if getattr(transformer.auto_model, "pooler", None) is None:
        raise ModelError(
            f"Model '{network.model.id}': the model has no pooler."
            " Choose another parameters.pooling."
        )
    loading.take(transformer, "pooler_output")
    transformer.module_output_name = "sentence_embedding"


def _named(network: Network, name: str) -> Any:
    """Return the module of the weights `name`: a layer norm if they are a vector, else linear."""
    weight = loading.named(network, name)
    if weight.dim() == 2:
        return loading.linear(network, name, "sentence_embedding")
    norm = LayerNorm(len(weight))
    norm.norm.weight.data = weight
    norm.norm.bias.data = loading.named(network, name, "bias")
    return norm


def _check_width(model: Any, modules: Sequence[Any], head: Changes, network: Network) -> None:
    """Raise DefinitionError if vectors have fewer dimensions than are to be kept."""
    if head.dimensions is None:
        return
    before = modules[: next(i for i, m in enumerate(modules) if isinstance(m, Truncate))]
    with torch.inference_mode():
        ids = torch.ones((1, 2), dtype=torch.long)
        width = Vectors(loading.first(model), before).eval()(ids, ids).shape[1]
    if head.dimensions > width:
        raise DefinitionError(
            f"key 'parameters.dimensions': {head.dimensions}, but the vectors of"
            f" '{network.model.id}' have {width}. Correct it."
        )
