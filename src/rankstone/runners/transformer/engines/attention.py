"""Attention of rows that see nothing, for exported graphs. Imports torch.

Local attention leaves the padding of a short text without any key to attend to, and causal
attention that on its left. Torch gives such rows zeros; OpenVINO divides by zero, and later layers
carry that into the text.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

NAME = "rankstone-sdpa"
"""Name under which transformers knows `attention`."""


def attention(
    module: Any, query: Any, key: Any, value: Any, attention_mask: Any, **more: Any
) -> tuple[Any, None]:
    """Torch's attention, spelled out for rows that see nothing."""
    if attention_mask is None:
        return sdpa_attention_forward(module, query, key, value, None, **more)
    blind = ~attention_mask.any(dim=-1, keepdim=True)
    found, _ = sdpa_attention_forward(module, query, key, value, attention_mask | blind, **more)
    return found.masked_fill(blind.transpose(1, 2), 0.0), None


@contextlib.contextmanager
def zeros_where_blind(model: Any) -> Iterator[None]:
    """`model`, of transformers, with this attention where padding may be blind."""
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
