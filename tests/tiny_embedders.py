"""Tiny random checkpoints of embedding models, laid out as in their own repositories."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from tests.tiny_encoders import LETTERS, SMALL, WORDS, seeded, write_modules

WIDTH = 24
POOLING = "models.Pooling"
NORMALIZE = {"2_Normalize": "models.Normalize"}


def pooled(folder: Path, mode: str, more: dict[str, str] = NORMALIZE, **library: Any) -> None:
    """Lay out sentence-transformers' modules: a transformer, its pooling by `mode`, and `more`."""
    write_modules(folder, {"": "models.Transformer", "1_Pooling": POOLING, **more}, **library)
    modes = ("cls_token", "mean_tokens", "lasttoken")
    stated = {f"pooling_mode_{name}": name == mode for name in modes}
    (folder / "1_Pooling").mkdir()
    settings = {"word_embedding_dimension": WIDTH, **stated, "include_prompt": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(settings))


def bge_m3(folder: Path) -> None:
    """`BAAI/bge-m3`: XLM-RoBERTa in a pickle, and two linear maps in pickles of their own."""
    from transformers import XLMRobertaConfig, XLMRobertaModel, XLMRobertaTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    special = [(token, 0.0) for token in ("<s>", "<pad>", "</s>", "<unk>")]
    words = [(f"▁{word}", -3.0) for word in dict.fromkeys([*WORDS, *LETTERS])]
    pieces = [*special, ("▁", -9.0), *words, *((one, -8.0) for one in LETTERS), ("<mask>", 0.0)]
    XLMRobertaTokenizer(vocab=pieces, model_max_length=8192).save_pretrained(folder)
    sizes = {**SMALL, "max_position_embeddings": 8194, "type_vocab_size": 1}
    config = XLMRobertaConfig(
        vocab_size=len(pieces), pad_token_id=1, bos_token_id=0, eos_token_id=2, **sizes
    )
    config.save_pretrained(folder)
    torch.save(seeded(XLMRobertaModel, config).state_dict(), folder / "pytorch_model.bin")
    for name, rows in (("colbert_linear", WIDTH), ("sparse_linear", 1)):
        torch.save({"weight": torch.randn(rows, WIDTH), "bias": torch.randn(rows)},
                   folder / f"{name}.pt")  # fmt: skip
    pooled(folder, "cls_token")


def bytes_with_end(folder: Path, special: dict[str, str], template: str) -> int:
    """A byte-level tokenizer that puts tokens around a text, as `template` says; its size."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: n for n, token in enumerate([*dict.fromkeys(special.values()), *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    named = [(token, vocabulary[token]) for token in template.split() if token != "$A"]
    tokenizer.post_processor = processors.TemplateProcessing(single=template, special_tokens=named)
    folder.mkdir(parents=True, exist_ok=True)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    return len(vocabulary)


DECODER = {
    "hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2, "head_dim": 12,
    "num_key_value_heads": 1, "intermediate_size": 32,
}  # fmt: skip


def qwen3(folder: Path, prompts: dict[str, str]) -> None:
    """`Qwen/Qwen3-Embedding-*`: a causal decoder whose tokenizer ends texts, the last token."""
    from transformers import Qwen3Config, Qwen3Model

    special = {"pad_token": "<|endoftext|>", "eos_token": "<|im_end|>"}
    size = bytes_with_end(folder, special, "$A <|endoftext|>")
    seeded(Qwen3Model, Qwen3Config(vocab_size=size, **DECODER)).save_pretrained(folder)
    pooled(folder, "lasttoken", prompts=prompts, similarity_fn_name="cosine")


def mistral(folder: Path) -> None:
    """`intfloat/e5-mistral-7b-instruct`: a causal decoder whose tokenizer begins texts alone."""
    from transformers import MistralConfig, MistralModel

    special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    size = bytes_with_end(folder, special, "<s> $A")
    seeded(MistralModel, MistralConfig(vocab_size=size, **DECODER)).save_pretrained(folder)
    pooled(folder, "lasttoken")


def gemma(folder: Path, prompts: dict[str, str]) -> None:
    """`google/embeddinggemma-300m`: Gemma 3 that attends both ways, the mean, two linear maps."""
    from transformers import Gemma3TextConfig, Gemma3TextModel

    special = {"pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>"}
    size = bytes_with_end(folder, special, "<bos> $A <eos>")
    config = Gemma3TextConfig(
        vocab_size=size, use_bidirectional_attention=True, query_pre_attn_scalar=12,
        max_position_embeddings=256, sliding_window=16, **DECODER,
    )  # fmt: skip
    seeded(Gemma3TextModel, config).save_pretrained(folder)
    dense = dict.fromkeys(("2_Dense", "3_Dense"), "models.Dense")
    behind = {**dense, "4_Normalize": "models.Normalize"}
    pooled(folder, "mean_tokens", behind, prompts=prompts, similarity_fn_name="cosine")
    for name, shape in (("2_Dense", (WIDTH, 40)), ("3_Dense", (40, WIDTH))):
        settings = {"in_features": shape[0], "out_features": shape[1], "bias": False,
                    "activation_function": "torch.nn.modules.linear.Identity"}  # fmt: skip
        (folder / name).mkdir()
        (folder / name / "config.json").write_text(json.dumps(settings))
        save_file({"linear.weight": torch.randn(*shape[::-1])}, folder / name / "model.safetensors")


def model2vec(folder: Path, *, folded: bool) -> None:
    """`minishlab/potion-*`: token embeddings, or, `folded`, rows of them and weights of tokens."""
    vocabulary = {token: n for n, token in enumerate(["[PAD]", "[UNK]", *dict.fromkeys(WORDS)])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    draw, size = torch.Generator().manual_seed(0), len(vocabulary)
    tensors = {"embeddings": torch.randn(size, 8, generator=draw)}
    if folded:
        tensors["mapping"] = torch.randint(size, (size,), generator=draw)
        tensors["weights"] = torch.rand(size, generator=draw)
    save_file(tensors, folder / "model.safetensors")
    write_modules(folder, {".": "models.StaticEmbedding", "1_Normalize": "models.Normalize"})


def lora(folder: Path, maps: dict[str, tuple[int, int]], seed: int, **settings: Any) -> None:
    """An adapter as PEFT saves it: `maps` are (outputs, inputs) of linear maps by their path."""
    folder.mkdir(parents=True, exist_ok=True)
    draw, rank = torch.Generator().manual_seed(seed), 3
    tensors = {}
    for path, (outputs, inputs) in maps.items():
        name = f"base_model.model.{path}"
        tensors[f"{name}.lora_A.weight"] = torch.randn(rank, inputs, generator=draw)
        tensors[f"{name}.lora_B.weight"] = torch.randn(outputs, rank, generator=draw)
    save_file(tensors, folder / "adapter_model.safetensors")
    own = {"peft_type": "LORA", "r": rank, "lora_alpha": 6, "bias": "none", **settings}
    (folder / "adapter_config.json").write_text(json.dumps(own))
