"""Convert a checkpoint in DPR's own format to two folders in the transformers format.

DPR and AR2 save both towers in one pickle: a named tuple `CheckpointState` whose `model_dict` has
tensors under `question_model.` and `ctx_model.`. Since a pickle can run code, it is read by torch's
restricted unpickler, which allows tensors, plain values and the one class defined here, and refuses
everything else without calling it.
"""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

from rankstone.errors import ModelError
from rankstone.runners.transformer.checkpoint_files import read_json

TOWERS = ("question_model", "ctx_model")
MODULES = ("dpr.utils.model_utils", "utils.dpr_utils", "__main__")
"""Modules of the class in checkpoints: of DPR, of AR2, of a script."""


class CheckpointState(tuple[Any, ...]):
    """Substitute for DPR's named tuple: the values in order, without code."""

    def __new__(cls, *values: Any) -> CheckpointState:
        return super().__new__(cls, values)


def convert(checkpoint: Path, like: Path, to: Path) -> list[Path]:
    """Write `to/question_model` and `to/ctx_model`: safetensors, settings, tokenizer.

    Args:
        checkpoint: DPR's or AR2's file.
        like: folder of the encoder that the towers were initialised from, whose `config.json` and
        tokenizer are copied. The towers are run as plain BERT, as by DPR and AR2.
        to: parent of the new folders, which must not exist.

    Returns: the folders.

    Raises ModelError: the file has more than plain values, or not two towers that fit `like`.
    """
    from safetensors.torch import save_file

    config = {**read_json(like / "config.json"), "model_type": "bert"}
    config["architectures"] = ["BertModel"]
    state = read_state(checkpoint)
    towers = {tower: _tower(state, tower, config, checkpoint) for tower in TOWERS}
    folders = [to / tower for tower in TOWERS]
    for folder in folders:
        if folder.exists():
            raise ModelError(f"{folder} is there already. Remove it, or name another folder.")
    for folder, tensors in zip(folders, towers.values(), strict=True):
        folder.mkdir(parents=True)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        (folder / "config.json").write_text(json.dumps(config, indent=1))
        for path in like.iterdir():
            if path.name.startswith(("tokenizer", "special_tokens", "vocab")):
                shutil.copy(path, folder)
    return folders


def read_state(checkpoint: Path) -> dict[str, Any]:
    """Return the file's tensors by name.

    Raises ModelError if it has more than plain values; no code in it is ever run.
    """
    import torch

    names = [f"{module}.CheckpointState" for module in MODULES]
    allowed: list[Any] = [(CheckpointState, name) for name in names]
    try:
        with torch.serialization.safe_globals(allowed):
            found = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ModelError(f"{checkpoint}: no such file.") from None
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ModelError(
            f"{checkpoint} is not read: it is damaged, or holds more than weights, which would run"
            f" as code ({reason})"
        ) from error
    state = found[0] if isinstance(found, CheckpointState) and found else found
    if isinstance(state, dict) and isinstance(state.get("model_dict"), dict):
        state = state["model_dict"]  # DPR writes the tuple as a dictionary
    if not isinstance(state, dict) or not all(hasattr(v, "shape") for v in state.values()):
        raise ModelError(f"{checkpoint}: no tensors by name (model_dict) in it.")
    return state


def _tower(
    state: dict[str, Any], tower: str, config: dict[str, Any], checkpoint: Path
) -> dict[str, Any]:
    prefix = f"{tower}."
    tensors = {
        name.removeprefix(prefix): tensor.contiguous().clone()
        for name, tensor in state.items()
        if name.startswith(prefix)
    }
    words = tensors.get("embeddings.word_embeddings.weight")
    expected = (config.get("vocab_size"), config.get("hidden_size"))
    if words is None or tuple(words.shape) != expected:
        found = None if words is None else tuple(words.shape)
        raise ModelError(
            f"{checkpoint}: expected word embeddings {expected} under '{prefix}', found {found}."
            " Name the folder of the encoder that it started from: --like"
        )
    return tensors
