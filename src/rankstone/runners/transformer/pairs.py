"""Classifiers of pairs of texts. Imports torch: import this inside functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from sentence_transformers import CrossEncoder
from torch import nn

from rankstone.errors import ModelError
from rankstone.runners.transformer import loading
from rankstone.runners.transformer.flops import costs
from rankstone.runners.transformer.network import Array, Loaded, Network
from rankstone.runners.transformer.tokens import PROBED_QUERY, SECOND, PairTokens, Tokens


class Scores(nn.Module):
    """(ids, mask) -> (n, 1) by the library's modules; the mask is `SECOND` at a pair's second text,
    as `PairTokens` makes it."""

    def __init__(self, modules: Sequence[Any], activation: Any, *, types: bool) -> None:
        super().__init__()
        self.backbone, self.behind = modules[0], nn.ModuleList(modules[1:])
        self.activation, self.types = activation, types

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        features = {"input_ids": ids, "attention_mask": (mask > 0).long()}
        if self.types:
            features["token_type_ids"] = (mask == SECOND).long()
        features = self.backbone(features)
        features["scores"] = features["scores"].float()
        for module in self.behind:
            features = module(features)
        scores: torch.Tensor = self.activation(features["scores"])
        return scores


def load(network: Network) -> Loaded:
    """The library's CrossEncoder. A sigmoid at its end is left out: it would not move a rank, but
    tie what it saturates."""
    model: Any = loading.opened(network, CrossEncoder)
    _check(model, network)
    transformer, net = loading.first(model), loading.first(model).auto_model
    own = model.activation_fn
    activation = nn.Identity() if isinstance(own, nn.Sigmoid) else own
    types = "token_type_ids" in transformer.tokenizer.model_input_names
    facts = loading.facts(model)
    facts = replace(facts, costs=costs(net.base_model), library_tokens=False, prompts={})

    def oracle(texts: Sequence[str], prompt: str) -> Array:
        pairs = [(PROBED_QUERY, text) for text in texts]
        scores: Array = model.predict(
            pairs, batch_size=len(pairs), activation_fn=activation, show_progress_bar=False
        )
        return scores[:, None]

    return Loaded(
        model=model,
        network=Scores(list(model), activation, types=types).eval(),
        facts=facts,
        tokenizer=transformer.tokenizer,
        oracle=oracle,
        tokens_of=lambda tokens, prompt: paired(tokens, facts.truncation_side),
    )


def paired(tokens: Tokens, side: Any) -> PairTokens:
    return PairTokens(tokens.tokenizer, pad=tokens.pad, limit=tokens.limit, truncation_side=side)


def _check(model: Any, network: Network) -> None:
    """Raise ModelError for what is not a classifier of one label, with all its weights."""
    net, what = loading.first(model).auto_model, f"Model '{network.model.id}'"
    if loading.first(model).transformer_task != "sequence-classification":
        raise ModelError(f"{what} scores pairs by generating text, which is not supported.")
    if model.num_labels != 1:
        raise ModelError(f"{what} has {model.num_labels} labels: a scorer needs a model with one.")
    if model.default_prompt_name is not None:
        raise ModelError(
            f"{what} puts the prompt '{model.default_prompt_name}' before texts, which is not"
            " supported. Remove default_prompt_name from its settings."
        )
    named = net.named_parameters()
    missing = [n for n, p in named if not getattr(p, "_is_hf_initialized", False)]
    if missing:
        raise ModelError(
            f"{what}: no weights '{missing[0]}' in {network.model.folder} ({len(missing)} missing)."
            " Name a model that was trained to classify pairs."
        )
    if getattr(loading.first(model).tokenizer, "backend_tokenizer", None) is None:
        raise ModelError(f"{what}: its tokenizer is not one of the library 'tokenizers'.")
