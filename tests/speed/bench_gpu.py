"""Encoding on a CUDA device: ours against sentence-transformers' own `encode`, in one process.

A BERT of 110 million random weights encodes 20,000 texts of 8 to 512 tokens. The library encodes in
batches of each of `BATCHES` texts, and its fastest is the peer. Yields nothing where there is no
CUDA device.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tests.speed import cuda

N_TEXTS, WARM_UP = 20_000, 512
BATCHES = (32, 128, 512)
WORDS = 30_000
PRECISIONS = ("fp32", "bf16")


def write_model(folder: Path) -> None:
    """BERT-base with random weights, mean pooling, cosine; a token for each of `WORDS` words."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    words = tokenizer()
    BertModel(BertConfig(vocab_size=len(words))).save_pretrained(folder / "plain")
    words.save_pretrained(folder / "plain")
    transformer = Transformer(str(folder / "plain"), max_seq_length=512)
    modules = [transformer, Pooling(768, "mean"), Normalize()]
    SentenceTransformer(modules=modules).save(str(folder / "model"), create_model_card=False)


def tokenizer() -> Any:
    from transformers import BertTokenizer

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{n}" for n in range(WORDS))]
    return BertTokenizer(vocab={word: number for number, word in enumerate(words)})


def texts(n: int) -> list[str]:
    """Of random words; lengths are log-normal around 110, as those of abstracts and passages."""
    random = np.random.default_rng(0)
    lengths = np.clip(random.lognormal(4.7, 0.6, n), 8, 510).astype(int)
    return [" ".join(f"w{word}" for word in random.integers(0, WORDS, k)) for k in lengths]


def lines() -> Iterator[str]:
    if not cuda.present():
        return
    with tempfile.TemporaryDirectory() as place:
        write_model(Path(place))
        documents = texts(N_TEXTS)
        for precision in PRECISIONS:
            yield from _compared(Path(place) / "model", documents, precision)


def _compared(folder: Path, documents: list[str], precision: str) -> Iterator[str]:
    import torch
    from sentence_transformers import SentenceTransformer

    from rankstone.runners.encoders.dense import DenseEncoder
    from rankstone.runners.models import locate
    from rankstone.specs import ModelSpec

    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    library = SentenceTransformer(str(folder), device="cuda", model_kwargs={"dtype": dtype})
    model = locate(ModelSpec(id="random", path=str(folder)))
    ours: Any = DenseEncoder(model=model, precision=precision, max_length=512)

    def theirs(batch: int, part: list[str]) -> Any:
        return library.encode(part, batch_size=batch, show_progress_bar=False)

    expected = np.asarray(theirs(32, documents[:WARM_UP]), np.float32)
    found = ours.encode(documents[:WARM_UP], "document")
    best = min(BATCHES, key=lambda size: cuda.seconds(lambda: theirs(size, documents[:4096])))
    ratio, own = cuda.compared(
        lambda: theirs(best, documents), lambda: ours.encode(documents, "document")
    )
    lengths = np.array([text.count(" ") + 3 for text in documents])
    flops = ours._tower("document").facts.costs.flops(lengths)
    share = cuda.share_of_peak(flops, own, precision)
    peer = f"sentence-transformers' encode in batches of {best}"
    yield f"speed gpu_encoding_{precision} ratio={ratio:.2f} goal=>=1 peer={peer}"
    yield f"speed gpu_encoding_{precision}_share_of_peak ratio={share:.3f} goal=>=0.3 peer=torch.mm"
    apart = np.abs(found - expected).max()
    bound = 1e-4 if precision == "fp32" else 2e-2
    yield f"speed gpu_encoding_{precision}_difference ratio={apart:.6f} goal=<={bound} peer={peer}"
