"""A cross-encoder on a CUDA device against sentence-transformers' own `predict`, in one process.

A BERT of 110 million random weights scores 1,000 candidates of each of four queries, of 8 to 512
tokens. The library scores in batches of each of `BATCHES` pairs, and its fastest is the peer.
Yields nothing where there is no CUDA device.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tests.speed import bench_gpu, cuda

N_QUERIES, DEPTH = 4, 1000
BATCHES = (32, 128, 512)
PRECISIONS = ("fp32", "bf16")


def lines() -> Iterator[str]:
    if not cuda.present():
        return
    with tempfile.TemporaryDirectory() as place:
        write_model(Path(place))
        for precision in PRECISIONS:
            yield from _compared(Path(place), precision)


def write_model(folder: Path) -> None:
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    tokenizer = bench_gpu.tokenizer()
    config = BertConfig(vocab_size=len(tokenizer), num_labels=1)
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _compared(folder: Path, precision: str) -> Iterator[str]:
    import torch
    from sentence_transformers import CrossEncoder

    from rankstone.runners.models import locate
    from rankstone.runners.scorers.cross_encoder import CrossEncoderScorer
    from rankstone.specs import ModelSpec

    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    library = CrossEncoder(
        str(folder), device="cuda", max_length=512, model_kwargs={"dtype": dtype}
    )
    model = locate(ModelSpec(id="random", path=str(folder)))
    scorer: Any = CrossEncoderScorer(model=model, precision=precision, batch_size=DEPTH)
    documents = bench_gpu.texts(DEPTH)
    queries = [" ".join(text.split()[:12]) for text in documents[:N_QUERIES]]

    def theirs(batch: int, n: int = N_QUERIES) -> list[Any]:
        plain: Any = torch.nn.Identity()  # as ours: a sigmoid would not move a rank
        return [
            library.predict(
                [(query, text) for text in documents], batch_size=batch, activation_fn=plain,
                show_progress_bar=False,
            )
            for query in queries[:n]
        ]  # fmt: skip

    def ours() -> list[Any]:
        return [scorer.score(query, documents) for query in queries]

    expected, found = np.array(theirs(32), np.float32), np.array(ours())
    best = min(BATCHES, key=lambda size: cuda.seconds(lambda: theirs(size, 1)))
    ratio, own = cuda.compared(lambda: theirs(best), ours)
    lengths = np.array([len(t.split()) + len(q.split()) + 3 for q in queries for t in documents])
    flops = scorer._pairs.facts.costs.flops(np.minimum(lengths, 512))
    share = cuda.share_of_peak(flops, own, precision)
    name, peer = f"gpu_cross_encoder_{precision}", f"CrossEncoder.predict in batches of {best}"
    yield f"speed {name} ratio={ratio:.2f} goal=>=1 peer={peer}"
    yield f"speed {name}_share_of_peak ratio={share:.3f} goal=>=0.3 peer=torch.mm"
    apart, bound = np.abs(found - expected).max(), 1e-4 if precision == "fp32" else 3e-2
    yield f"speed {name}_difference ratio={apart:.6f} goal=<={bound} peer={peer}"
