"""Tiny random checkpoints in the layouts that released models come in.

They stand in for weights that cannot be downloaded where the tests run.
"""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

SPECIAL = ("[PAD]", "[unused0]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORDS = (
    "the", "fox", "bear", "river", "glacier", "harbour", "crosses", "follows", "which", "an",
    "##ing", "##ed", "##er",
)  # fmt: skip
LETTERS = (*string.ascii_lowercase, *string.digits)
VOCABULARY = (*SPECIAL, *string.punctuation, *LETTERS, *(f"##{c}" for c in LETTERS), *WORDS)


def tokenizer() -> Any:
    """WordPiece, lower-casing, with BERT's special tokens; every ASCII word has its pieces."""
    from transformers import BertTokenizer

    return BertTokenizer(vocab={token: number for number, token in enumerate(VOCABULARY)})


def bert(seed: int = 0) -> Any:
    """BERT of two layers and 32 dimensions. Its weights are drawn wide, so that texts differ."""
    from transformers import BertConfig, BertModel

    return _random(BertModel, BertConfig, seed, vocab_size=len(VOCABULARY))


def masked(kind: str = "bert", seed: int = 0) -> Any:
    """A masked language model of two layers and 32 dimensions: BERT, or DistilBERT."""
    import torch
    from transformers import (
        BertConfig,
        BertForMaskedLM,
        DistilBertConfig,
        DistilBertForMaskedLM,
    )

    if kind == "bert":
        made = _random(BertForMaskedLM, BertConfig, seed, vocab_size=len(VOCABULARY))
        bias = made.cls.predictions.bias
    else:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            sizes = {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64}
            made = DistilBertForMaskedLM(
                DistilBertConfig(vocab_size=len(VOCABULARY), initializer_range=0.3, **sizes)
            ).eval()
        bias = made.vocab_projector.bias
    with torch.no_grad():  # a new model's is zero, and would hide whether it is used
        bias.copy_(torch.linspace(-1, 1, len(bias)))
    return made


def modernbert(seed: int = 0, *, more_tokens: int = 0) -> Any:
    """ModernBERT of two layers, the second with local attention."""
    from transformers import ModernBertConfig, ModernBertModel

    ids = {name: VOCABULARY.index(f"[{name.upper()}]") for name in ("pad", "cls", "sep")}
    return _random(
        ModernBertModel,
        ModernBertConfig,
        seed,
        vocab_size=len(VOCABULARY) + more_tokens,
        global_attn_every_n_layers=2,
        local_attention=16,
        bos_token_id=ids["cls"],
        eos_token_id=ids["sep"],
        **{f"{name}_token_id": number for name, number in ids.items()},
    )


def _random(model: Any, config: Any, seed: int, **settings: Any) -> Any:
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = model(
            config(
                hidden_size=32,
                num_hidden_layers=2,
                num_attention_heads=4,
                intermediate_size=64,
                max_position_embeddings=512,
                initializer_range=0.3,
                **settings,
            )
        )
    return made.eval()


def projection(dim: int, seed: int = 1) -> Any:
    """(dim, 32) float32."""
    import torch

    return torch.randn((dim, 32), generator=torch.Generator().manual_seed(seed))


def write_encoder(folder: Path, seed: int = 0) -> Path:
    """A plain encoder as transformers saves it."""
    bert(seed).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def write_masked(folder: Path, kind: str = "bert", seed: int = 0) -> Path:
    """A masked language model as transformers saves it: SPLADE's released form."""
    masked(kind, seed).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def write_idf(folder: Path) -> dict[str, float]:
    """As OpenSearch's models have it: token -> weight, for most tokens that are not special."""
    weights = {token: 0.5 + number % 7 for number, token in enumerate(VOCABULARY[7:-3])}
    _write(folder / "idf.json", {**weights, "not-in-the-vocabulary": 9.0})
    return weights


def write_vdr(folder: Path, *, shift: int) -> Path:
    """As vsearch/vdr-nq: two bare BERTs with a layer norm each in one file, and no tokenizer."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    tensors, parts = {}, {}
    for seed, part in enumerate(("encoder_q", "encoder_p"), start=3):
        model = bert(seed)
        model.pooler = None
        tensors |= {f"{part}.bert_model.{n}": t for n, t in model.state_dict().items()}
        draw = torch.Generator().manual_seed(seed)
        tensors[f"{part}.ln.weight"] = 1 + 0.1 * torch.randn(32, generator=draw)
        tensors[f"{part}.ln.bias"] = 0.1 * torch.randn(32, generator=draw)
        own = {"type": "vdr", "max_len": 128, "norm": False, "shift_vocab_num": shift, "topk": 16}
        sizes = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads",
                 "intermediate_size")  # fmt: skip
        parts[part] = {**own, **{name: getattr(model.config, name) for name in sizes}}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    _write(folder / "config.json", {"architectures": ["Retriever"], "max_len": 512, **parts})
    return folder


def write_stanford_colbert(folder: Path, *, dim: int, **metadata: Any) -> Path:
    """As colbert-ir/colbertv2.0: encoder and projection in one file, settings beside them."""
    from safetensors.torch import save_file

    model = bert()
    write_encoder(folder)
    tensors = {f"bert.{name}": tensor for name, tensor in model.state_dict().items()}
    tensors["linear.weight"] = projection(dim)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    _update(folder / "config.json", architectures=["HF_ColBERT"])
    settings = {
        "query_token_id": "[unused0]",
        "doc_token_id": "[unused1]",
        "query_maxlen": 32,
        "doc_maxlen": 220,
        "mask_punctuation": True,
        "attend_to_mask_tokens": False,
        "dim": dim,
        "similarity": "cosine",
    }
    (folder / "artifact.metadata").write_text(json.dumps({**settings, **metadata}))
    return folder


def write_pylate_colbert(folder: Path, *, dim: int, **settings: Any) -> Path:
    """As lightonai/GTE-ModernColBERT-v1: ModernBERT, a Dense module, markers added as tokens."""
    from safetensors.torch import save_file

    tokens = tokenizer()
    tokens.add_tokens(["[Q] ", "[D] "])
    modernbert(more_tokens=2).save_pretrained(folder)
    tokens.save_pretrained(folder)
    dense = folder / "1_Dense"
    dense.mkdir()
    save_file({"linear.weight": projection(dim)}, dense / "model.safetensors")
    linear = {"in_features": 32, "out_features": dim, "bias": False}
    activation = "torch.nn.modules.linear.Identity"
    _write(dense / "config.json", {**linear, "activation_function": activation})
    modules = {
        "": "sentence_transformers.models.Transformer",
        "1_Dense": "pylate.models.Dense.Dense",
    }
    listed = [
        {"idx": number, "name": str(number), "path": path, "type": kind}
        for number, (path, kind) in enumerate(modules.items())
    ]
    _write(folder / "modules.json", listed)
    _write(folder / "sentence_bert_config.json", {"max_seq_length": 299, "do_lower_case": False})
    own = {
        "prompts": {},
        "default_prompt_name": None,
        "similarity_fn_name": "MaxSim",
        "query_prefix": "[Q] ",
        "document_prefix": "[D] ",
        "query_length": 32,
        "document_length": 300,
        "attend_to_expansion_tokens": False,
        "skiplist_words": list(string.punctuation),
    }
    _write(folder / "config_sentence_transformers.json", {**own, **settings})
    return folder


def _update(path: Path, **values: Any) -> None:
    _write(path, {**json.loads(path.read_text()), **values})


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value))
