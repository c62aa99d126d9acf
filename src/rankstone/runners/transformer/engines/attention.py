"""Attention for rows whose keys are all masked, for exported graphs. Imports torch.

With local attention, padding of a short text may have no key to attend to; with causal attention,
left padding has none. Torch returns zeros for such rows; OpenVINO divides by zero, and later layers
propagate NaN into the text.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

NAME = "rankstone-sdpa"
"""Name of `attention` in transformers."""


def attention(
    module: Any, query: Any, key: Any, value: Any, attention_mask: Any, **more: Any
) -> tuple[Any, None]:
    """Compute torch's attention, with explicit zeros for fully masked rows."""
    if attention_mask is None:
        return sdpa_attention_forward(module, query, key, value, None, **more)
    blind = ~attention_mask.any(dim=-1, keepdim=True)
    found, _ = sdpa_attention_forward(module, query, key, value, attention_mask | blind, **more)
    return found.masked_fill(blind.transpose(1, 2), 0.0), None


@contextlib.contextmanager
def zeros_where_blind(model: Any) -> Iterator[None]:
    """Use this attention in the transformers `model` if padding may be fully masked."""
    kinds = getattr(model.config, "layer_types", None) or []
    able = "sliding_attention" in kinds or type(model).__name__.endswith("ForCausalLM")
    if not able or model.config._attn_implementation != "sdpa":
        yield
        return
    AttentionInterface.register(NAME, attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    model.set_attn_implementation(NAME)
    try:
        yield
    finally:
        model.set_attn_implementation("sdpa")
