"""Tiny random checkpoints of scorers in the layouts that the adapters document, and toy scorers."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from rankstone.runners.meter import Work, report
from rankstone.runners.models import LocatedModel, locate
from rankstone.runners.protocols import Truncation
from rankstone.specs import ModelSpec

WORDS = ("fox", "bear", "river", "engine", "violin", "the", "crosses", "repairs", "which", "an")
QUERY = "which fox crosses the river"
CANDIDATES = (
    "The fox crosses the river.", "bear", "", "an engine repairs the violin " * 3,
    "which violin, the bear?", "river river river", "x", "The fox crosses the river engine.",
)  # fmt: skip


def config(**changes: Any) -> Any:
    """A BERT of two layers whose random weights are large enough for attention to matter."""
    from transformers import BertConfig

    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
             "intermediate_size": 48, "max_position_embeddings": 96, "initializer_range": 0.3,
             "vocab_size": len(vocabulary())}  # fmt: skip
    return BertConfig(**{**sizes, **changes})


def vocabulary() -> list[str]:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = [*string.ascii_lowercase, *string.digits, ".", ",", "?"]
    return [*special, *letters, *(f"##{letter}" for letter in letters), *WORDS]


def write_tokenizer(folder: Path, max_length: int = 96) -> None:
    from transformers import BertTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(vocabulary()) + "\n")
    tokenizer = BertTokenizerFast.from_pretrained(str(folder), model_max_length=max_length)
    tokenizer.save_pretrained(folder)


def write_backbone(folder: Path, seed: int = 0, max_length: int = 96, **changes: Any) -> Any:
    """A `BertModel` with its tokenizer; returns the model."""
    import torch
    from transformers import BertModel

    write_tokenizer(folder, max_length)
    torch.manual_seed(seed)
    model = BertModel(config(**changes)).eval()
    model.save_pretrained(folder)
    return model


def write_cross_encoder(
    folder: Path, labels: int = 1, max_length: int = 96, **changes: Any
) -> LocatedModel:
    import torch
    from transformers import BertForSequenceClassification

    write_tokenizer(folder, max_length)
    torch.manual_seed(0)
    BertForSequenceClassification(config(num_labels=labels, **changes)).save_pretrained(folder)
    return located(folder)


def write_poly_encoder(
    folder: Path, codes: int = 5, own_candidates: bool = False, **changes: Any
) -> LocatedModel:
    model = write_backbone(folder, **changes)
    if own_candidates:
        write_backbone(folder / "candidates", seed=1)
    write_extra(folder, codes=(codes, model.config.hidden_size))
    return located(folder)


def write_uni_encoder(folder: Path, **changes: Any) -> LocatedModel:
    model = write_backbone(folder, **changes)
    write_extra(folder, weight=(model.config.hidden_size,), bias=(1,))
    return located(folder)


def write_extra(folder: Path, **shapes: tuple[int, ...]) -> None:
    from safetensors.numpy import save_file

    rng = np.random.default_rng(0)
    tensors = {name: rng.normal(size=shape).astype("f4") for name, shape in shapes.items()}
    save_file(tensors, folder / "scorer.safetensors")


def located(folder: Path) -> LocatedModel:
    return locate(ModelSpec(id="tiny", path=str(folder)))


@dataclass(frozen=True, kw_only=True)
class SharedLetters:
    """Counts the query's letters in the document, times `weight`; its limit is `limit` letters."""

    requires: ClassVar[Mapping[str, str]] = {}

    weight: float = 1.0
    limit: int = 10

    def describe(self) -> dict[str, Any]:
        return {"scorer": "shared letters", "weight": self.weight}

    def score(self, query: str, documents: Sequence[str]) -> np.ndarray:
        report(Work(texts=len(documents), tokens=2 * len(documents)))
        counts = [sum(text.count(letter) for letter in set(query)) for text in documents]
        return np.array(counts, dtype=np.float32) * np.float32(self.weight)

    def truncation(self, query: str, documents: Sequence[str]) -> Truncation | None:
        cut = [max(len(query) + len(text) - self.limit, 0) for text in documents]
        total = sum(len(query) + len(text) for text in documents)
        return Truncation(len(documents), sum(map(bool, cut)), total, sum(cut))


def write_fusion(folder: Path) -> LocatedModel:
    """GeAR's two BERTs, with cross-attention beside them."""
    import torch
    from safetensors.torch import save_file

    from rankstone.runners.scorers.gear.fused_network import CROSSED

    for seed, role in enumerate(("query", "document")):
        own = write_backbone(folder / role, seed)
    torch.manual_seed(2)
    named = own.state_dict().items()
    crossed = {name.replace(".attention.", CROSSED): 0.3 * torch.randn_like(tensor)
               for name, tensor in named if ".attention." in name}  # fmt: skip
    save_file(crossed, folder / "scorer.safetensors")
    return located(folder)
