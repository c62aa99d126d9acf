"""Encoding a corpus four times as large, by a tiny random BERT: memory must not grow with it.

Each size is encoded in a process of its own; the shards are written, and read once more.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

SMALL, TIMES = 8_192, 4
ROOT = Path(__file__).resolve().parents[2]


class Corpus:
    """Generated texts, made when asked for."""

    def __init__(self, n: int) -> None:
        self._n = n

    def __len__(self) -> int:
        return self._n

    def texts(self, start: int, stop: int) -> list[str]:
        return [f"the fox {row} crosses river {row * 7 % 1009} " * 4 for row in range(start, stop)]


def encode(n: int, folder: Path) -> int:
    """Bytes of the peak resident size after the corpus is encoded and read."""
    from rankstone.encodings.cache import EncodingCache
    from rankstone.profiling.clock import Clock
    from rankstone.profiling.memory import peak_rss
    from rankstone.runners.encoders.dense import DenseEncoder
    from rankstone.runners.models import locate
    from rankstone.specs import ModelSpec
    from tests.tiny_models import write_encoder

    model = locate(ModelSpec(id="tiny", path=str(write_encoder(folder / "model"))))
    runner = DenseEncoder(model=model, pooling="mean", engine="torch", device="cpu")
    cache = EncodingCache(
        folder=folder / "shards", corpus=Corpus(n), key_material={}, clock=Clock()
    )
    if sum(map(len, cache.chunks(runner))) != n:
        raise RuntimeError("documents are missing")
    peak = peak_rss()
    if peak is None:
        raise RuntimeError("the kernel shows no high-water mark here")
    return peak


def measured(n: int) -> int:
    with tempfile.TemporaryDirectory(prefix="rankstone-streaming-") as folder:
        command = [sys.executable, __file__, str(n), folder]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
        done = subprocess.run(
            command, check=True, stdout=subprocess.PIPE, text=True, env=environment
        )
        return int(done.stdout.splitlines()[-1])


def lines() -> Iterator[str]:
    ratio = measured(TIMES * SMALL) / measured(SMALL)
    yield f"speed encoding_memory_growth ratio={ratio:.3f} goal=<=1.05 peer=a quarter of the corpus"


if __name__ == "__main__":
    sys.stdout.write(f"{encode(int(sys.argv[1]), Path(sys.argv[2]))}\n")
