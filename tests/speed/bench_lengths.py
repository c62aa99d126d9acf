"""Growth of the encoding time of one text with its tokens: a Mamba and a BERT of the same width.

Two layers of random weights, 128 dimensions, texts of 512 to 8,192 tokens. Zhang et al. 2024 (Mamba
Retriever, arXiv:2408.08066) state time linear in length. The exponent is the slope of log time over
log length. CPU seconds of one thread, the least of all rounds, which take the lengths in turn.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

LENGTHS = (512, 1024, 2048, 4096, 8192)
LAYERS, WIDTH = 2, 128
ROUNDS = 3
LINEAR = 1.1
"""The largest exponent that counts as linear."""
SPECIAL = {"eos_token": "</s>", "unk_token": "</s>", "cls_token": "<s>", "sep_token": "</s>",
           "pad_token": "<pad>"}  # fmt: skip


def lines() -> Iterator[str]:
    """Yield the exponent of Mamba's time, against the largest that is linear and against BERT's."""
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        yield from judged(timed(written(Path(folder))))


def judged(seconds: dict[str, list[float]]) -> Iterator[str]:
    """Yield the result lines of the seconds of each model at `LENGTHS`."""
    mamba, bert = (exponent(LENGTHS, seconds[name]) for name in ("mamba", "bert"))
    yield f"speed mamba_time_by_length ratio={mamba:.3f} goal=<={LINEAR} peer=linear"
    yield f"speed mamba_vs_bert_time_by_length ratio={mamba / bert:.3f} goal=<=0.9 peer=bert"


def exponent(lengths: Sequence[int], seconds: Sequence[float]) -> float:
    """Return the p of seconds ~ lengths^p, by least squares of the logarithms."""
    return float(np.polyfit(np.log(lengths), np.log(seconds), 1)[0])


def written(folder: Path) -> dict[str, dict[int, Any]]:
    """Return encoders by model and length, to which they truncate a text."""
    from transformers import BertConfig, BertModel, MambaConfig, MambaModel

    from rankstone.runners.encoders.dense import DenseEncoder
    from tests.tiny_encoders import bytes_tokenizer, seeded
    from tests.tiny_rerankers import located

    common = {"hidden_size": WIDTH, "num_hidden_layers": LAYERS}
    longer = {"max_position_embeddings": LENGTHS[-1], "intermediate_size": 4 * WIDTH}
    kinds = {
        "mamba": (MambaModel, MambaConfig, common, "last"),
        "bert": (BertModel, BertConfig, {**common, **longer, "num_attention_heads": 2}, "cls"),
    }
    made = {}
    for name, (model, config, settings, pooling) in kinds.items():
        size = bytes_tokenizer(folder / name, SPECIAL)
        seeded(model, config(vocab_size=size, **settings)).save_pretrained(folder / name)
        found = located(folder / name)
        made[name] = {
            length: DenseEncoder(model=found, pooling=pooling, max_length=length, engine="torch",
                                 device="cpu")
            for length in LENGTHS
        }  # fmt: skip
    return made


def timed(encoders: dict[str, dict[int, Any]]) -> dict[str, list[float]]:
    """Return the least CPU seconds of each model at `LENGTHS`."""
    text = "a" * (2 * LENGTHS[-1])
    best = {name: [np.inf] * len(LENGTHS) for name in encoders}
    for number in range(ROUNDS + 1):
        for name, by_length in encoders.items():
            for at, encoder in enumerate(by_length.values()):
                started = time.process_time()
                encoder.encode([text], "document")
                if number:  # the first round loads
                    best[name][at] = min(best[name][at], time.process_time() - started)
    return best
