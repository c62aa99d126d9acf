"""Shared parts of scorers that read query and candidates separately: lengths, truncation, extra
tensors, and packed sequences, in which a candidate attends to the query and itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from rankstone.errors import DefinitionError, ModelError
from rankstone.runners.models import LocatedModel
from rankstone.runners.protocols import Truncation
from rankstone.runners.transformer.checkpoint_files import UnusableError
from rankstone.runners.transformer.network import Array, Facts
from rankstone.runners.transformer.tokens import Tokens

EXTRA = "scorer.safetensors"
ATTENTION = "rankstone-arrow"
"""Name of `arrow_attention` in transformers."""


def extra_tensors(model: LocatedModel, *wanted: str) -> dict[str, Array]:
    """Return the tensors stored beside the backbone, in float32; ModelError if one is missing."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path = model.folder / EXTRA
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"Model '{model.id}': {path}: cannot be read: {error}") from error
    for key in wanted:
        if key not in tensors:
            raise ModelError(
                f"Model '{model.id}': {path}: no tensor '{key}'."
                f" Found: {', '.join(sorted(tensors)) or 'nothing'}."
            )
    return {name: tensor.astype(np.float32) for name, tensor in tensors.items()}


def check_positions(model: LocatedModel, facts: Facts, longest: int) -> None:
    """Raise DefinitionError if a sequence could exceed the backbone's positions."""
    if facts.positions is not None and longest > facts.positions:
        raise DefinitionError(
            f"Model '{model.id}' has {facts.positions} positions, and query_length and"
            f" document_length ask for {longest}. Lower these parameters."
        )


def truncated_apart(
    of_query: Tokens, of_documents: Tokens, query: str, documents: Sequence[str]
) -> Truncation:
    """Count truncation of pairs whose query and document have separate limits."""
    (asked,) = of_query.encode([query]).counts
    counts = of_documents.encode(documents).counts
    limits = of_query.limit, of_documents.limit
    assert limits[0] is not None
    assert limits[1] is not None
    return Truncation.of(asked + counts, min(asked, limits[0]) + np.minimum(counts, limits[1]))


def packed(model: Any) -> Any:
    """Return the BERT `model` with `arrow_attention`; UnusableError if it is not a BERT."""
    from transformers import AttentionInterface, BertModel

    if not isinstance(model, BertModel):
        raise UnusableError(f"it is a {type(model).__name__}, not a BERT. Name a BERT")
    AttentionInterface.register(ATTENTION, arrow_attention)
    model.set_attn_implementation(ATTENTION)
    return model


class Layout(NamedTuple):
    """Layout of a packed sequence: T tokens of n candidates, of which the longest has R."""

    context: int
    """Number of query tokens, which precede those of the candidates."""
    one_way: bool
    owner: Any
    """(T,) candidate of each token."""
    offset: Any
    """(T,) position of each token within its candidate."""
    sizes: Any
    """(n,)"""
    positions: Any
    """(context + T,) position ids."""
    token_types: Any
    """(context + T,)"""
    visible: Any
    """(n, 1, 1, context + R) keys that a candidate's tokens attend to: the query and the candidate,
    without padding."""

    @classmethod
    def of(cls, context: int, sizes: Sequence[int], device: Any, attention: str) -> Layout:
        import torch

        counts = torch.tensor(sizes, device=device)
        owner = torch.repeat_interleave(torch.arange(len(sizes), device=device), counts)
        starts = counts.cumsum(0) - counts
        offset = torch.arange(len(owner), device=device) - starts[owner]
        before = torch.arange(context, device=device)
        own = torch.arange(max(sizes), device=device) < counts[:, None]
        visible = torch.cat(
            [torch.ones(len(sizes), context, dtype=torch.bool, device=device), own], 1
        )
        return cls(
            context=context,
            one_way=attention == "one-way",
            owner=owner,
            offset=offset,
            sizes=counts,
            positions=torch.cat([before, context + offset]),
            token_types=torch.cat([torch.zeros_like(before), torch.ones_like(offset)]),
            visible=visible[:, None, None],
        )


def packed_scores(model: Any, head: Mapping[str, Any], ids: Any, layout: Layout) -> Any:
    """Return the (n,) scores of the candidates in a packed sequence.

    Args:
        model: A `packed` BERT.
        head: `weight` (d,) and, optionally, `bias` (1,).
        ids: (context + T,) tokens.
    """
    import torch

    outputs = model(
        input_ids=ids[None],
        token_type_ids=layout.token_types[None],
        position_ids=layout.positions[None],
        arrow=layout,
    ).last_hidden_state[0, layout.context :]
    logits = (outputs @ head["weight"] + head.get("bias", 0.0)).float()
    sums = torch.zeros(len(layout.sizes), device=logits.device)
    return sums.index_add(0, layout.owner, logits) / layout.sizes


def arrow_attention(
    module: Any, query: Any, key: Any, value: Any, attention_mask: Any,
    *, scaling: float, arrow: Layout, dropout: float = 0.0, **_: Any,
) -> tuple[Any, None]:  # fmt: skip
    """Compute attention over a packed sequence, with the signature required by transformers.

    Query rows attend to the whole sequence. Each candidate's rows attend to the query and the
    candidate: a batch of n small attentions instead of one with (context + T)^2 mostly masked
    entries.

    Args:
        query, key, value: (1, heads, context + T, head size).

    Returns:
        (1, context + T, heads, head size), and None for the attention weights.
    """
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    attention = partial(scaled_dot_product_attention, scale=scaling, dropout_p=dropout)
    n = arrow.context
    seen = n if arrow.one_way else key.shape[2]
    head = attention(query[:, :, :n], key[:, :, :seen], value[:, :, :seen])
    count = len(arrow.sizes)
    own = [_apart(tensor[0, :, n:], arrow) for tensor in (query, key, value)]
    keys, values = (
        torch.cat([whole[:, :, :n].expand(count, -1, -1, -1), part], dim=2)
        for whole, part in ((key, own[1]), (value, own[2]))
    )
    tails = attention(own[0], keys, values, attn_mask=arrow.visible)
    packed = tails.transpose(1, 2)[arrow.owner, arrow.offset]
    return torch.cat([head[0].transpose(0, 1), packed])[None], None


def _apart(tokens: Any, arrow: Layout) -> Any:
    """Unpack (heads, T, head size) to (n, heads, R, head size), padded by zeros."""
    heads, _, size = tokens.shape
    out = tokens.new_zeros(len(arrow.sizes), arrow.visible.shape[-1] - arrow.context, heads, size)
    out[arrow.owner, arrow.offset] = tokens.transpose(0, 1)
    return out.transpose(1, 2)
