"""Tiny random language models in the layouts of released rerankers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rankstone.runners.models import LocatedModel
from tests.tiny_rerankers import located

CHAT = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>")
PIECES = (
    "Query", ":", "Document", "Relevant", "true", "false", "yes", "no", "fox", "bear", "river",
    "engine", "the", "crosses", "which", "violin",
)  # fmt: skip


def write_causal(folder: Path, kind: str = "qwen3", **changes: Any) -> LocatedModel:
    """A causal model with Qwen's byte-level tokenizer, as transformers saves both."""
    import transformers

    name = {"qwen3": "Qwen3", "qwen2": "Qwen2", "llama": "Llama"}[kind]
    tokenizer = byte_tokenizer()
    sizes = {
        "vocab_size": len(tokenizer), "hidden_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "intermediate_size": 48,
        "max_position_embeddings": 4096, "initializer_range": 0.3, "tie_word_embeddings": True,
        "eos_token_id": tokenizer.eos_token_id, "bos_token_id": None,
        "pad_token_id": tokenizer.pad_token_id,
    }  # fmt: skip
    config = getattr(transformers, f"{name}Config")(**{**sizes, **changes})
    _seeded(getattr(transformers, f"{name}ForCausalLM"), config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return located(folder)


def write_silent(folder: Path) -> LocatedModel:
    """A Llama that ends every answer at once, with Zephyr's chat template: no ranking."""
    import torch
    from transformers import LlamaForCausalLM

    write_causal(folder, "llama", tie_word_embeddings=False)
    model = LlamaForCausalLM.from_pretrained(folder)
    with torch.no_grad():  # all logits are equal, and the first token ends the answer
        model.lm_head.weight.zero_()
    model.config.eos_token_id = model.generation_config.eos_token_id = 0
    model.save_pretrained(folder)
    return located(folder)


def byte_tokenizer() -> Any:
    from tokenizers import pre_tokenizers
    from transformers import Qwen2Tokenizer

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("y", "e"), ("ye", "s"), ("n", "o"), ("t", "h"), ("th", "e")]
    tokens = [*CHAT, *alphabet, *("".join(pair) for pair in merges)]
    made = Qwen2Tokenizer(
        vocab={token: n for n, token in enumerate(tokens)},
        merges=merges,
        eos_token="<|im_end|>",
        additional_special_tokens=list(CHAT[1:3]),
        model_max_length=4096,
    )
    made.add_tokens(list(CHAT[3:]))
    return made


def write_seq2seq(folder: Path, documents: int = 0, scale: float = 3.0) -> LocatedModel:
    """T5ForConditionalGeneration with a sentencepiece vocabulary, as monoT5 is saved.

    `documents`: so many tokens that stand for a document each, as DSI has them.
    """
    from transformers import T5Config, T5ForConditionalGeneration

    tokenizer = _pieces()
    tokenizer.add_tokens([f"<doc_{n}>" for n in range(documents)])
    config = T5Config(
        vocab_size=len(tokenizer), d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4,
        decoder_start_token_id=0, initializer_factor=scale,
    )  # fmt: skip
    _seeded(T5ForConditionalGeneration, config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return located(folder)


def write_bart(folder: Path) -> LocatedModel:
    """BART, whose decoder begins with its last token, and whose positions are learnt."""
    from transformers import BartConfig, BartForConditionalGeneration

    tokenizer = _pieces()
    config = BartConfig(
        vocab_size=len(tokenizer), d_model=32, encoder_layers=2, decoder_layers=2,
        encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=48,
        decoder_ffn_dim=48, max_position_embeddings=80, init_std=0.3, pad_token_id=0,
        bos_token_id=1, eos_token_id=1, decoder_start_token_id=1, forced_eos_token_id=None,
    )  # fmt: skip
    _seeded(BartForConditionalGeneration, config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return located(folder)


def _pieces() -> Any:
    import string

    from transformers import T5Tokenizer

    letters = [(one, -9.0) for one in string.printable if not one.isspace()]
    words = [(f"▁{piece}", -3.0) for piece in PIECES] + [(":", -3.0)]
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -4.0)]
    vocab = list(dict([*special, *letters, *words]).items())
    return T5Tokenizer(vocab=vocab, extra_ids=0, model_max_length=512)


def _seeded(kind: Any, config: Any) -> Any:
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(0)
        return kind(config).eval()


def write_settings(folder: Path, **values: Any) -> None:
    """Change keys of `config.json`."""
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


RERANK = """
        return {"last_hidden_state": states}

    def rerank(self, query, documents, scale=1.0):
        words = set(query.split())
        scores = [scale * len(words & set(text.split())) + self.mix.bias[0].item()
                  for text in documents]
        order = sorted(range(len(documents)), key=lambda i: -scores[i])
        return [{"document": documents[i], "index": i, "relevance_score": scores[i]}
                for i in order]
"""


def write_own_code(folder: Path) -> LocatedModel:
    """A model whose repository carries code with a method `rerank`, as jina-reranker-v3's."""
    from tests import tiny_encoders

    tiny_encoders.word_pieces(folder)
    tiny_encoders.remote_code(
        folder, kind="ours", auto_class="AutoModel", body=RERANK,
        vocabulary=len(tiny_encoders.VOCABULARY),
    )  # fmt: skip
    return located(folder)
