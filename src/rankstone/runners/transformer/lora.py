"""Low-rank adapters (LoRA, Hu et al. 2022, arXiv:2106.09685) in PEFT's format, merged into weights.

For linear maps, merged weights equal those of PEFT's `merge_and_unload`. Anything else in an
adapter is an error that names it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rankstone.errors import ModelError
from rankstone.runners.models import LocatedModel
from rankstone.runners.transformer.checkpoint_files import read_json

SETTINGS = "adapter_config.json"
DOWN, UP = ".lora_A.weight", ".lora_B.weight"
REFUSED = (
    "use_dora", "modules_to_save", "alpha_pattern", "rank_pattern", "fan_in_fan_out",
    "layer_replication", "trainable_token_indices", "target_parameters", "lora_bias", "use_qalora",
)  # fmt: skip
"""Options that, if set, change more than adding a product."""


def merge(model: Any, lora: LocatedModel, tensors: Mapping[str, Any]) -> None:
    """Add scale * B A to each weight of `model` in the adapter, in place.

    Args:
        model: a torch module.
        tensors: weights of the adapter by name.

    Raises ModelError for an adapter of another type, or of another model.
    """
    scale = _scale(lora)
    modules = dict(model.named_modules())
    for path, down, up in _pairs(lora, tensors):
        inner = path.partition(".")[2]  # without the prefix of a class with a head
        module = modules.get(path) or modules.get(inner)
        if module is None or module.weight.shape != (len(up), down.shape[1]):
            raise ModelError(
                f"Model '{lora.id}': no map '{path}' of this size in the model that it is an"
                " adapter of. Correct [model], or [lora]."
            )
        module.weight.data += scale * (up.float() @ down.float())


def _pairs(lora: LocatedModel, tensors: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Yield the path of each map, A and B."""
    paths = [name.removesuffix(DOWN) for name in tensors if name.endswith(DOWN)]
    other = {*tensors} - {path + end for path in paths for end in (DOWN, UP)}
    if other or not paths:
        found = min(other, default="nothing")
        raise ModelError(
            f"Model '{lora.id}': its weights hold {found}, and only low-rank maps (*{DOWN}, *{UP})"
            " are merged here. Merge it by PEFT (merge_and_unload), and name the merged folder."
        )
    for path in paths:
        name = path.removeprefix("base_model.model.")
        yield name, tensors[path + DOWN], tensors[path + UP]


def _scale(lora: LocatedModel) -> float:
    """Return alpha / r, or alpha / sqrt(r) for a rank-stabilised adapter."""
    settings = read_json(lora.folder / SETTINGS)
    strange = [key for key in REFUSED if settings.get(key)]
    strange += ["bias"] if settings.get("bias", "none") != "none" else []
    strange += ["peft_type"] if settings.get("peft_type") != "LORA" else []
    if strange:
        raise ModelError(
            f"Model '{lora.id}': {SETTINGS} states '{strange[0]}', which is not followed here."
            " Merge it by PEFT (merge_and_unload), and name the merged folder."
        )
    rank = float(settings["r"])
    return float(settings["lora_alpha"]) / (rank**0.5 if settings.get("use_rslora") else rank)
