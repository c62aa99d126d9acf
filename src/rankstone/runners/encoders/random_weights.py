"""Checkpoints of random weights that read bytes: for measurements of time and memory alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rankstone.errors import DefinitionError

CONFIG = "config.json"
SEED = 0
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>",
           "cls_token": "<s>", "sep_token": "</s>"}  # fmt: skip


def write_random(folder: Path, configuration: Mapping[str, Any]) -> None:
    """Write a network of this configuration of transformers, with the weights that it begins with.

    Raises:
        DefinitionError: transformers does not know the configuration.
    """
    import torch
    from safetensors.torch import save_model
    from transformers import AutoConfig, AutoModel

    size = bytes_tokenizer(folder, SPECIAL)
    try:
        config = AutoConfig.for_model(**{"vocab_size": size, **configuration})
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            network: Any = AutoModel.from_config(config)  # type: ignore[no-untyped-call]
    except (TypeError, ValueError) as error:
        raise DefinitionError(f"[model.random]: {error}") from error
    config.save_pretrained(folder)
    save_model(network, str(folder / "model.safetensors"), metadata={"format": "pt"})


def bytes_tokenizer(
    folder: Path, special: Mapping[str, str], more: tuple[str, ...] = (), around: bool = True
) -> int:
    """Write a byte-level tokenizer like RoBERTa's, without merges; return its vocabulary's size.

    Args:
        special: key of transformers (`pad_token`) -> token.
        more: further special tokens.
        around: True for texts between `cls_token` and `sep_token`.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    named = list(dict.fromkeys([*special.values(), *more]))
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: n for n, token in enumerate([*named, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if around:
        cls, sep = special["cls_token"], special["sep_token"]
        tokenizer.post_processor = processors.RobertaProcessing(
            (sep, vocabulary[sep]), (cls, vocabulary[cls]), add_prefix_space=False
        )
    fast: Any = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, additional_special_tokens=list(more), **special
    )
    folder.mkdir(parents=True, exist_ok=True)
    fast.save_pretrained(folder)
    return len(vocabulary)
