"""Measures the figures that docs/scale_model.py is made of, into docs/scale_measurements.json.

    python tests/speed/scale_constants.py [bm25] [exact] [static] [shards] [merge]

Seconds are those of processors, so that other work on the machine hardly moves them. Takes about
two minutes. Ray's efficiencies come from bench_ray.py.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "docs" / "scale_measurements.json"
COMMAND = "python tests/speed/scale_constants.py"
ROUNDS = 5
Row = dict[str, Any]


def row(name: str, value: float, *, calibrates: bool = False, **at: float) -> Row:
    rounded = float(f"{value:.4g}")
    return {"name": name, "at": at, "value": rounded, "command": COMMAND, "calibrates": calibrates}


def seconds(action: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Median of some rounds, after one that warms up."""
    times = []
    for _ in range(rounds + 1):
        started = time.process_time()
        action()
        times.append(time.process_time() - started)
    return statistics.median(times[1:] or times)


def bm25() -> Iterator[Row]:
    from tests.speed.bench_bm25_build import Passages, ours

    ours(Passages(2000))  # imports
    for n in (50_000, 150_000, 300_000):
        passages = Passages(n)
        made = seconds(lambda passages=passages: [None for _ in passages.batches()], 0)
        started = time.process_time()
        search, nbytes = ours(passages)
        spent, fixes = time.process_time() - started - made, n != 150_000
        yield row("bm25_build_s", spent, documents=n, calibrates=fixes)
        yield row("bm25_index_bytes", nbytes, documents=n, calibrates=fixes)
        asked = passages.queries()
        each = seconds(lambda s=search, asked=asked: [s(one, 1000) for one in asked], 3) / len(
            asked
        )
        yield row("bm25_query_s", each, documents=n, calibrates=fixes)


def exact() -> Iterator[Row]:
    from rankstone.runners.search.exact.flat import ExactIndex

    for n, dim in ((250_000, 256), (500_000, 256), (125_000, 768), (250_000, 768)):
        rng = np.random.default_rng(0)
        index = ExactIndex.build(rng.standard_normal((n, dim), dtype=np.float32))
        asked = rng.standard_normal((64, dim), dtype=np.float32)
        one = seconds(lambda index=index, asked=asked: index.search(asked[:1], 100))
        yield row("exact_query_s", one, documents=n, dim=dim, calibrates=(n, dim) == (500_000, 256))
        batch = seconds(lambda index=index, asked=asked: index.search(asked, 100), 3)
        fixes = (n, dim) in ((500_000, 256), (250_000, 768))
        yield row("exact_batch_s", batch, documents=n, dim=dim, queries=64, calibrates=fixes)


def static() -> Iterator[Row]:
    from rankstone.runners.construct import build_runner
    from rankstone.workspace import Workspace
    from tests.speed.bench_bm25_build import Passages

    runner = build_runner(Workspace.find(ROOT).method("wordllama-256"))
    texts = [text for batch in Passages(20_000).batches() for text in batch]
    runner.encode(texts[:100], "document")
    for n in (5_000, 20_000):
        spent = seconds(lambda n=n: runner.encode(texts[:n], "document"), 3)
        yield row("static_encode_s", spent, documents=n, calibrates=n == 20_000)


class Zeros:
    """Vectors that cost nothing to make."""

    def __new__(cls, dim: int) -> Any:
        from rankstone.runners.protocols import Defaults

        class Encoder(Defaults):
            cacheable = True

            def __init__(self) -> None:
                self.dim = dim

            def encode(self, texts: Any, role: str) -> Any:
                return np.zeros((len(texts), self.dim), np.float32)

        return Encoder()


class Texts:
    """Passages of MS MARCO's length, all different."""

    def __init__(self, n: int) -> None:
        self._n = n

    def __len__(self) -> int:
        return self._n

    def texts(self, start: int, stop: int) -> list[str]:
        return [f"{number:09d} " * 34 for number in range(start, stop)]


def shards() -> Iterator[Row]:
    """Seconds of the driver for a shard that nobody has to encode, and of opening those stored."""
    from rankstone.encodings.cache import EncodingCache
    from rankstone.profiling.clock import Clock

    def read(runner: Any, corpus: Texts, folder: str) -> float:
        started = time.process_time()
        cache = EncodingCache(folder=Path(folder), corpus=corpus, key_material={}, clock=Clock())
        for _ in cache.chunks(runner):
            pass
        return time.process_time() - started

    for count in (30, 60, 120):
        with tempfile.TemporaryDirectory() as folder:
            runner, corpus = Zeros(4), Texts(1024 * count)
            read(runner, corpus, folder)
            opened = statistics.median(read(runner, corpus, folder) for _ in range(ROUNDS))
        yield row("shards_open_s", opened, shards=count, calibrates=count != 60)
    with tempfile.TemporaryDirectory() as folder:
        spent = read(Zeros(768), Texts(1024 * 30), folder) / 30
    yield row("ray_driver_s", spent, calibrates=True)


def merge() -> Iterator[Row]:
    """The best of sorted lists, ties to the lower position."""
    from rankstone.runners.top_k import largest

    for lists in (4, 16, 64):
        rng = np.random.default_rng(0)
        scores = rng.standard_normal(lists * 1000, dtype=np.float32)

        def best(scores: np.ndarray = scores) -> Any:
            kept = largest(scores, 1000)
            return kept[np.lexsort((kept, -scores[kept]))]

        yield row("merge_s", seconds(best, 50), lists=lists, k=1000, calibrates=lists != 16)


PARTS = {"bm25": bm25, "exact": exact, "static": static, "shards": shards, "merge": merge}


def main() -> None:
    sys.path.insert(0, str(ROOT))
    from rankstone.profiling.machine import cpu_name

    found = [one for name in sys.argv[1:] or PARTS for one in PARTS[name]()]
    anew = {one["name"] for one in found}
    stored = json.loads(TARGET.read_text(encoding="utf-8"))["measurements"]
    rows = [one for one in stored if one["name"] not in anew] + found
    lines = ",\n".join("  " + json.dumps(one) for one in rows)
    head = f'{{"machine": {json.dumps(cpu_name())}, "measurements": [\n'
    TARGET.write_text(f"{head}{lines}\n]}}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
