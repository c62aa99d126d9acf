"""What scoring the candidates of one query costs: four scorers on one random BERT of MiniLM's size.

A context of 160 words and responses of 20 (the shape for which Poly- and Uni-Encoders were made),
10 and 100 of them, and the shape of passage retrieval (10 and 120 words), which tells how much of
the gain is left there. Song et al. 2023 state a quarter of the cross-encoder's time for the
Uni-Encoder at 10 candidates. CPU seconds of one thread: the passes over one query are small, and on
a busy machine more threads would tell of the scheduler.
"""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from rankstone.runners.encoders.dense import DenseEncoder
from rankstone.runners.scorers.bi_encoder import BiEncoderScorer
from rankstone.runners.scorers.cross_encoder import CrossEncoderScorer
from rankstone.runners.scorers.poly_encoder import PolyEncoderScorer
from rankstone.runners.scorers.uni_encoder import UniEncoderScorer
from tests import tiny_rerankers as tiny

MINILM = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12,
          "intermediate_size": 1536, "max_position_embeddings": 512,
          "initializer_range": 0.02}  # fmt: skip
SHAPES = {"dialogue": (160, 20), "passages": (10, 120)}
GOALS = {
    ("dialogue", 10): {"uni": 0.25, "poly": 0.25, "bi": 0.3},
    ("dialogue", 100): {"uni": 0.25, "poly": 0.2, "bi": 0.2},
    ("passages", 10): {"uni": 1.2, "poly": 1.2, "bi": 1.2},
}
ROUNDS = 5


def lines() -> Iterator[str]:
    """The median over interleaved rounds of each scorer's time over the cross-encoder's."""
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        scorers = written(Path(folder))
        for (shape, n), goals in GOALS.items():
            times = timed(scorers, *texts(*SHAPES[shape], n))
            for name, goal in goals.items():
                ratio = statistics.median(
                    own / peer for own, peer in zip(times[name], times["cross"], strict=True)
                )
                place = f"scorer_{name}_vs_cross_{shape}_{n}"
                yield f"speed {place} ratio={ratio:.3f} goal=<={goal} peer=cross-encoder"


def written(folder: Path) -> dict[str, Any]:
    """Scorers on backbones of one size."""
    cross = tiny.write_cross_encoder(folder / "cross", max_length=512, **MINILM)
    poly = tiny.write_poly_encoder(folder / "poly", codes=64, max_length=512, **MINILM)
    uni = tiny.write_uni_encoder(folder / "uni", max_length=512, **MINILM)
    encoder = DenseEncoder(model=poly, pooling="mean", max_length=512, engine="torch", device="cpu")
    return {
        "cross": CrossEncoderScorer(model=cross, engine="torch", device="cpu"),
        "poly": PolyEncoderScorer(model=poly, engine="torch", device="cpu"),
        "uni": UniEncoderScorer(model=uni, device="cpu"),
        "bi": BiEncoderScorer(members=(encoder,)),
    }


def texts(query_words: int, document_words: int, n: int) -> tuple[str, list[str]]:
    """A query and n documents; documents differ by up to half their length."""
    rng = random.Random(0)

    def words(count: int) -> str:
        return " ".join(rng.choices(tiny.WORDS, k=count))

    half = document_words // 2
    lengths = [half + rng.randint(0, document_words) for _ in range(n)]
    return words(query_words), [words(length) for length in lengths]


def timed(scorers: dict[str, Any], query: str, documents: list[str]) -> dict[str, list[float]]:
    for scorer in scorers.values():
        scorer.score(query, documents[:2])
    times: dict[str, list[float]] = {name: [] for name in scorers}
    for _ in range(ROUNDS):
        for name, scorer in scorers.items():
            started = time.process_time()
            scorer.score(query, documents)
            times[name].append(time.process_time() - started)
    return times
