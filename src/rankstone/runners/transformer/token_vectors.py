"""Networks with one vector per token. Imports torch: import this inside functions.

The mask of a batch distinguishes three kinds of positions: `PADDING`, `SEEN`, and `UNSEEN`, which
get a vector but are not attended to, such as the mask tokens of a ColBERT query.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from sentence_transformers import MultiVectorEncoder, SentenceTransformer
from sentence_transformers.base.modules import Normalize
from sentence_transformers.multi_vector_encoder.modules import BaseTokenPooling, MultiVectorMask
from torch import nn

from rankstone.errors import ModelError
from rankstone.runners.transformer import loading
from rankstone.runners.transformer.network import Array, Loaded, Network
from rankstone.runners.transformer.tokens import SEEN, Expanded, Tokens

STATES = "token_embeddings"
"""The library's name for hidden states."""
PROBED_LENGTH = 32
"""Query length for the comparison of the graph with the library."""


class TokenVectors(nn.Module):
    """(ids, mask) -> (n, length, dim) unit vectors by the library's modules; zeros at padding."""

    def __init__(self, transformer: Any, behind: Sequence[Any]) -> None:
        super().__init__()
        self.backbone, self.behind = transformer, nn.ModuleList(behind)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        features = self.backbone({"input_ids": ids, "attention_mask": (mask == SEEN).long()})
        features["token_embeddings"] = features["token_embeddings"].float()
        for module in self.behind:
            features = module(features)
        vectors = nn.functional.normalize(features["token_embeddings"], dim=-1)
        return torch.where((mask > 0)[..., None], vectors, torch.zeros(()).to(vectors))


def load_colbert(network: Network, dim: int, attend: bool | None) -> Loaded:
    """Load a late-interaction checkpoint.

    Args:
        dim: expected dimensions of its vectors.
        attend: True if a query's tokens attend to its mask tokens; None: there are none.
    """
    model = loading.opened(network, MultiVectorEncoder)
    width = int(model.get_embedding_dimension() or 0)
    if width != dim:
        raise ModelError(
            f"Model '{network.model.id}': its vectors have {width} dimensions, expected {dim}."
            " Correct the key 'parameters.dim', or use the model it is meant for."
        )
    return _loaded(network, model, attend)


class TokenWeights(nn.Module):
    """(ids, mask) -> (n, length, 1) non-negative weights, by a linear map of the hidden states."""

    def __init__(self, transformer: Any, projection: Any) -> None:
        super().__init__()
        self.backbone, self.projection = transformer, projection

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        features = self.backbone({"input_ids": ids, "attention_mask": mask})
        features[STATES] = features[STATES].float()
        weights: torch.Tensor = torch.relu(self.projection(features)[STATES])
        return weights


def load_weights(network: Network, projection: str) -> Loaded:
    """Load a network with one weight per token, the linear map `projection` of its hidden state."""
    transformer = loading.plain(network, "feature-extraction")
    model = SentenceTransformer(modules=[transformer], device="cpu")
    linear = loading.linear(network, projection, STATES)
    return Loaded(
        model=model,
        network=TokenWeights(transformer, linear).eval(),
        facts=loading.facts(model),
        tokenizer=transformer.tokenizer,
    )


def load_plain(network: Network, projection: str) -> Loaded:
    """Load any encoder's last hidden states, optionally with the linear map `projection`."""
    transformer = loading.plain(network, "feature-extraction")
    linear = [loading.linear(network, projection, STATES)] if projection else []
    modules = [transformer, *linear, MultiVectorMask(), Normalize(module_input_name=STATES)]
    return _loaded(network, MultiVectorEncoder(modules=modules, device="cpu"), None)


def _loaded(network: Network, model: Any, attend: bool | None) -> Loaded:
    modules = loading.behind(model)
    if any(isinstance(module, BaseTokenPooling) for module in modules):
        raise ModelError(
            f"Model '{network.model.id}' pools the vectors of neighbouring tokens, which is not"
            " supported. Remove that module from its modules.json."
        )
    for module in modules:
        if isinstance(module, MultiVectorMask):  # tokens are skipped by the runner
            module.skiplist_words = []
            module.resolve_with_tokenizer(model.tokenizer)
    behind = [module for module in modules if not isinstance(module, MultiVectorMask)]
    transformer = loading.first(model)
    fixed = {"strategy": "fixed", "attend": bool(attend), "length": PROBED_LENGTH}
    transformer.query_length = transformer.document_length = None
    transformer.query_expansion = None if attend is None else fixed
    query = model.prompts.get("query")
    linear = [m for part in behind for m in part.modules() if isinstance(m, nn.Linear)]
    projections = sum(module.weight.numel() for module in linear)
    facts = loading.facts(model)
    costs = facts.costs

    def oracle(texts: Sequence[str], prompt: str) -> Array:
        matrices = model.encode(
            list(texts), prompt=prompt, task="query" if prompt and prompt == query else "document",
            batch_size=len(texts), show_progress_bar=False, normalize_embeddings=True,
        )  # fmt: skip
        shape = (len(texts), max(map(len, matrices)), matrices[0].shape[1])
        rows = np.zeros(shape, dtype=np.float32)
        for row, matrix in zip(rows, matrices, strict=True):
            row[: len(matrix)] = matrix
        return rows.reshape(len(texts), -1)

    def tokens_of(tokens: Tokens, prompt: str) -> Tokens:
        if attend is None or not prompt or prompt != query:
            return tokens
        short = copy.copy(tokens)
        short.limit = PROBED_LENGTH
        return Expanded(short, model.tokenizer.mask_token_id, attend=attend)

    return Loaded(
        model=model,
        network=TokenVectors(transformer, behind).eval(),
        facts=replace(facts, costs=costs._replace(weights=costs.weights + projections)),
        tokenizer=transformer.tokenizer,
        oracle=oracle,
        tokens_of=tokens_of,
    )
