"""Counted operations against torch's own count for a running network."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
import transformers
from torch.utils.flop_counter import FlopCounterMode

from rankstone.runners.transformer.flops import costs

LENGTHS = (1, 7, 16, 128, 500)
SMALL = {
    "vocab_size": 60, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4,
    "intermediate_size": 64,
}  # fmt: skip
LOCAL = {
    **dict.fromkeys(("pad_token_id", "cls_token_id", "sep_token_id"), 0),
    "local_attention": 16, "global_attn_every_n_layers": 3,
}  # fmt: skip
DISTIL = {"vocab_size": 60, "dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 64}


def made(name, **settings):
    """Return the network with attention as plain matrix products, which the counter sees."""
    config = getattr(transformers, f"{name}Config")(**settings)
    model = getattr(transformers, f"{name}Model")(config).eval()
    if name != "Mamba":
        model.set_attn_implementation("eager")
    return model


def counted(model, length):
    ids = torch.ones((1, length), dtype=torch.long)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(input_ids=ids, attention_mask=ids)
    return counter.get_total_flops()


def ours(model, *lengths):
    return costs(model).flops(np.array(lengths))


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("Bert", SMALL),
        ("Roberta", SMALL),
        ("DistilBert", DISTIL),
        ("Qwen3", {**SMALL, "num_key_value_heads": 2, "head_dim": 16}),
    ],
)
def test_full_attention_is_counted_as_torch_counts_it(name, settings):
    model = made(name, **settings)
    for length in LENGTHS:
        pooler = 2 * 32 * 32 if getattr(model, "pooler", None) is not None else 0
        assert ours(model, length) + pooler == counted(model, length)
    assert ours(model, *LENGTHS) == sum(ours(model, length) for length in LENGTHS)


def test_local_attention_is_counted_by_its_window():
    """torch computes all products and masks distant ones, which do not count as work."""
    model = made("ModernBert", **SMALL, **LOCAL)
    assert costs(model).local_layers == 2
    for length in LENGTHS:
        near = min(length, LOCAL["local_attention"])
        far = 4 * 2 * 32 * length * (length - near)
        assert ours(model, length) + far == counted(model, length)


def test_of_a_state_space_model_the_linear_maps_are_counted():
    """Convolution and scan are left out: a few percent, at the proportions of Mamba-130m."""
    settings = {"vocab_size": 60, "num_hidden_layers": 1, "hidden_size": 768}
    model = made("Mamba", **settings)
    for length in (8, 32):
        whole = counted(model, length)  # of the scan, only its last product
        assert 0.98 * whole < ours(model, length) < whole
    inner, state = 2 * 768, 16
    scan = 9 * inner * state  # a token, elementwise: state-spaces/mamba, issue 110
    assert scan / ours(model, 1) < 0.04
    assert costs(model).layers == costs(model).local_layers == 0


def test_layers_behind_the_exit_do_not_count():
    from rankstone.runners.transformer.submodels.early_exit import leave

    model = made("ModernBert", **SMALL, **LOCAL)
    whole = costs(model)
    assert whole[1:] == (1, 32, 2, 16)
    leave(model, 2, "tiny")
    cut = costs(model)
    assert cut[1:] == (1, 32, 1, 16)
    assert cut.weights * 3 == whole.weights * 2
