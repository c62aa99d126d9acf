"""Tiny random checkpoints, laid out as the released ones are.

They stand in for weights that are not at hand where the tests run.
"""

from __future__ import annotations

import collections
import json
import pickle
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    DPRConfig,
    DPRContextEncoder,
    DPRQuestionEncoder,
    MambaConfig,
    MambaModel,
    NomicBertConfig,
    NomicBertModel,
    RobertaConfig,
    RobertaModel,
)

from rankstone.runners.encoders.random_weights import bytes_tokenizer as bytes_tokenizer

WORDS = [
    "a", "the", "of", "fox", "bear", "dog", "river", "engine", "glacier", "market", "def", "return",
    "print", "query", "passage", "search", "document", "represent", "this", "sentence", "for",
    "searching", "relevant", "passages", "title", "text", "x", "y", "(", ")", ":", ".", ",", "'",
    "-",
]  # fmt: skip
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = [chr(c) for c in range(ord("a"), ord("z") + 1)]
VOCABULARY = [
    *SPECIAL,
    *WORDS,
    *(w for w in LETTERS if w not in WORDS),
    *(f"##{c}" for c in LETTERS),
]
SMALL = {
    "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
    "max_position_embeddings": 514,
}  # fmt: skip


def seeded(kind: Any, config: Any) -> Any:
    """A model with weights of some size, so that no two texts have nearly the same vector."""
    torch.manual_seed(0)
    model = kind(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
    return model


def word_pieces(folder: Path) -> None:
    """BERT's tokenizer: `vocab.txt`, and settings."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 512}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


ROBERTA_SPECIAL = {
    "bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>",
    "cls_token": "<s>", "sep_token": "</s>", "mask_token": "<mask>",
}  # fmt: skip


def bert(folder: Path, *, seed: int = 0) -> None:
    word_pieces(folder)
    model = seeded(BertModel, BertConfig(vocab_size=len(VOCABULARY), **SMALL))
    if seed:
        with torch.no_grad():
            model.embeddings.word_embeddings.weight.mul_(-1)
    model.save_pretrained(folder)


def distilbert(folder: Path) -> None:
    word_pieces(folder)
    config = DistilBertConfig(
        vocab_size=len(VOCABULARY), dim=24, n_layers=2, n_heads=2, hidden_dim=32,
        max_position_embeddings=512,
    )  # fmt: skip
    seeded(DistilBertModel, config).save_pretrained(folder)


def dpr(folder: Path, tower: str) -> None:
    """`facebook/dpr-*`: model type dpr, a pickle with BERT under the tower's name."""
    word_pieces(folder)
    kind = DPRQuestionEncoder if tower == "question_encoder" else DPRContextEncoder
    model = seeded(kind, DPRConfig(vocab_size=len(VOCABULARY), projection_dim=0, **SMALL))
    if tower == "question_encoder":
        with torch.no_grad():
            bert = model.question_encoder.bert_model
            bert.embeddings.word_embeddings.weight.mul_(-1)
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": true}')
    model.config.save_pretrained(folder)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")


def ance(folder: Path) -> None:
    """`castorini/ance-msmarco-passage`: RoBERTa, `embeddingHead` and `norm` in one pickle."""
    size = bytes_tokenizer(folder, ROBERTA_SPECIAL)
    config = RobertaConfig(vocab_size=size, pad_token_id=1, **SMALL)
    state = {f"roberta.{n}": w for n, w in seeded(RobertaModel, config).state_dict().items()}
    state["embeddingHead.weight"] = torch.randn(16, 24)
    state["embeddingHead.bias"] = torch.randn(16)
    state["norm.weight"], state["norm.bias"] = torch.randn(16), torch.randn(16)
    config.save_pretrained(folder)
    torch.save(state, folder / "pytorch_model.bin")


def unixcoder(folder: Path) -> None:
    size = bytes_tokenizer(folder, ROBERTA_SPECIAL, ("<encoder-only>",))
    config = RobertaConfig(vocab_size=size, pad_token_id=1, **SMALL)
    seeded(RobertaModel, config).save_pretrained(folder)


def nomic(folder: Path) -> None:
    word_pieces(folder)
    config = NomicBertConfig(vocab_size=len(VOCABULARY), **{**SMALL, "hidden_size": 1024})
    seeded(NomicBertModel, config).save_pretrained(folder)


def mamba(folder: Path) -> None:
    special = {"eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    size = bytes_tokenizer(folder, special, around=False)
    config = MambaConfig(
        vocab_size=size, hidden_size=16, num_hidden_layers=2, state_size=4, time_step_rank=2
    )
    seeded(MambaModel, config).save_pretrained(folder)


def dupmae(folder: Path) -> None:
    """BERT with its language-model head, and W_cls beside them under a name of our own."""
    word_pieces(folder)
    config = BertConfig(vocab_size=len(VOCABULARY), **SMALL)
    model = seeded(BertForMaskedLM, config)
    state = {n: w.clone().contiguous() for n, w in model.state_dict().items()}
    state["cls_projection.weight"] = torch.randn(12, 24)
    config.save_pretrained(folder)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def ar2_pickle(path: Path, like: Path, *, module: str = "utils.dpr_utils") -> dict[str, Any]:
    """DPR's checkpoint: a named tuple of the module that wrote it, two towers in its first part."""
    word_pieces(like)
    config = BertConfig(vocab_size=len(VOCABULARY), **SMALL)
    values = {**config.to_dict(), "model_type": "ernie", "use_task_id": True}
    (like / "config.json").write_text(json.dumps(values))
    towers = {"question_model": seeded(BertModel, config), "ctx_model": seeded(BertModel, config)}
    with torch.no_grad():
        towers["question_model"].embeddings.word_embeddings.weight.mul_(-1)
    state = {f"{t}.{n}": w for t, model in towers.items() for n, w in model.state_dict().items()}
    fields = ["model_dict", "optimizer_dict", "scheduler_dict", "offset", "epoch", "encoder_params"]
    kind = collections.namedtuple("CheckpointState", fields)
    kind.__module__ = module
    parts = module.split(".")
    names = [".".join(parts[:end]) for end in range(1, len(parts) + 1)]
    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            patch.setitem(sys.modules, name, types.ModuleType(name))
        patch.setattr(sys.modules[module], "CheckpointState", kind, raising=False)
        torch.save(kind(state, {"step": 3}, None, 0, 1, {"do_lower_case": True}), path)
    return towers


class Malicious:
    """A pickle of it calls a function when it is read."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.marker,))


def malicious_pickle(path: Path, marker: Path, *, zipped: bool) -> None:
    if zipped:
        torch.save({"model_dict": Malicious(marker)}, path)
    else:
        path.write_bytes(pickle.dumps(Malicious(marker), protocol=2))


REMOTE_CONFIG = """
from transformers import PretrainedConfig


class TinyConfig(PretrainedConfig):
    model_type = "{type}"

    def __init__(self, vocab_size=300, hidden_size=16, **more):
        self.vocab_size, self.hidden_size = vocab_size, hidden_size
        super().__init__(**more)
"""
POOLING_CODE = """
import torch
from transformers import PreTrainedModel
from .configuration_tiny import TinyConfig


class TinyModel(PreTrainedModel):
    config_class = TinyConfig

    def __init__(self, config):
        super().__init__(config)
        self.words = torch.nn.Embedding(config.vocab_size, config.hidden_size)
        self.mix = torch.nn.Linear(config.hidden_size, config.hidden_size)
        self.post_init()

    def forward(self, input_ids, attention_mask=None, **more):
        states = self.mix(self.words(input_ids))
        mask = attention_mask[..., None].float()
{body}
"""
M2_BODY = """
        # As Monarch Mixer's convolutions do, padding takes part.
        return {"sentence_embedding": torch.tanh(states.cumsum(1)[:, -1] / 100)}
"""
MOSE_BODY = """
        order = torch.arange(1, input_ids.shape[1] + 1, device=input_ids.device)[None, :, None]
        behind = input_ids.shape[1] + 1 - order  # from the last token, as left padding has it
        pooled = (states * mask / behind).sum(1) / mask.sum(1)
        vectors = [torch.nn.functional.normalize(pooled * n, dim=-1) for n in (1.0, -1.0)]
        return {"projected_pooled_normalized": vectors}
"""


def remote_code(folder: Path, *, kind: str, auto_class: str, body: str, vocabulary: int) -> None:
    """A model that is made by code in its own folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "configuration_tiny.py").write_text(REMOTE_CONFIG.replace("{type}", kind))
    (folder / "modeling_tiny.py").write_text(POOLING_CODE.replace("{body}", body))
    values = {
        "model_type": kind, "vocab_size": vocabulary, "hidden_size": 16,
        "auto_map": {
            "AutoConfig": "configuration_tiny.TinyConfig", auto_class: "modeling_tiny.TinyModel",
        },
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(values))
    torch.manual_seed(0)
    state = {
        "words.weight": torch.randn(vocabulary, 16), "mix.weight": torch.randn(16, 16),
        "mix.bias": torch.randn(16),
    }  # fmt: skip
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def m2_bert(folder: Path) -> None:
    word_pieces(folder)
    remote_code(
        folder, kind="m2_bert", auto_class="AutoModelForSequenceClassification", body=M2_BODY,
        vocabulary=len(VOCABULARY),
    )  # fmt: skip


def modular_star_encoder(folder: Path) -> None:
    special = {
        "sep_token": "<sep>", "cls_token": "<cls>", "pad_token": "<pad>",
        "eos_token": "<|endoftext|>",
    }  # fmt: skip
    size = bytes_tokenizer(folder, special, around=False)
    remote_code(
        folder, kind="ModularStarEncoder", auto_class="AutoModel", body=MOSE_BODY, vocabulary=size
    )


def write_modules(folder: Path, modules: dict[str, str], **library: Any) -> None:
    """Lay out sentence-transformers' settings: path of each module -> its type."""
    listed = [{"idx": n, "name": str(n), "path": path, "type": f"sentence_transformers.{kind}"}
              for n, (path, kind) in enumerate(modules.items())]  # fmt: skip
    (folder / "modules.json").write_text(json.dumps(listed))
    (folder / "config_sentence_transformers.json").write_text(json.dumps(library))
