"""Learned sparse encoding against sentence-transformers, and exact sparse search against scipy.

300 abstracts of SciFact at 256 tokens by the small SPLADE model, both at fp32, each in a process of
its own: the time of encoding, and the resident memory beyond what was there before. SciFact is read
from the folder of `RANKSTONE_DATA`. The search is of single queries of 30 terms over 100,000 random
vectors of about 110 terms, drawn as words are, k = 1,000; the peer multiplies by scipy's product of
two sparse matrices and selects by `argpartition`.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
METHOD = "sparse/splade-tiny"
N_TEXTS, LIMIT = 300, 256
ROUNDS = 3
N_DOCUMENTS, N_QUERIES, WIDTH, K = 100_000, 50, 30_522, 1000


def texts() -> list[str]:
    from rankstone.benchmarks.dataset import Sources
    from rankstone.benchmarks.store import find_raw
    from rankstone.workspace import Workspace

    named = os.environ.get("RANKSTONE_DATA")
    if not named:
        raise SystemExit("bench_sparse: set RANKSTONE_DATA to a folder that holds beir/scifact")
    with tempfile.TemporaryDirectory() as cache:
        sources = Sources(data=Path(named), cache=Path(cache))
        raw = find_raw(Workspace.find(ROOT).task("beir/scifact"), sources)
        return [f"{d.title} {d.text}".strip() for d in islice(raw.documents(), N_TEXTS)]


def ours() -> Callable[[list[str]], Any]:
    from rankstone.runners.construct import build_runner
    from rankstone.workspace import Workspace

    runner = build_runner(Workspace.find(ROOT).method(METHOD))
    return lambda batch: runner.encode(batch, "document")


def theirs() -> Callable[[list[str]], Any]:
    from sentence_transformers import SparseEncoder
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sparse_encoder.modules import SpladePooling

    from rankstone.runners.models import locate
    from rankstone.workspace import Workspace

    model = Workspace.find(ROOT).method(METHOD).model
    assert model is not None
    folder = str(locate(model).folder)
    network = Transformer(folder, transformer_task="fill-mask", max_seq_length=LIMIT)
    encoder = SparseEncoder(modules=[network, SpladePooling("max")], device="cpu")
    return lambda batch: encoder.encode_document(batch, show_progress_bar=False)


def measured(side: str) -> dict[str, float]:
    """Seconds of encoding, and bytes beyond those resident before."""
    from rankstone.profiling.memory import peak_rss, reset_peak_rss

    documents, encode = texts(), {"ours": ours, "theirs": theirs}[side]()
    encode(documents[:3])
    reset_peak_rss()
    before, started = peak_rss(), time.perf_counter()
    encode(documents)
    seconds, after = time.perf_counter() - started, peak_rss()
    if before is None or after is None:
        raise RuntimeError("the kernel shows no high-water mark here")
    return {"seconds": seconds, "bytes": float(max(after - before, 2**20))}


def apart(side: str) -> dict[str, float]:
    command = [sys.executable, __file__, side]
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def vectors(rng: np.random.Generator, n: int, draws: int) -> Any:
    """Sparse vectors whose terms are as frequent as words: by the inverse of their rank."""
    from rankstone.runners.representations.sparse_rows import sparse_rows

    shares = 1 / np.arange(10, WIDTH + 10)
    drawn = rng.choice(WIDTH, (n, draws), p=shares / shares.sum())
    terms = [np.unique(row) for row in drawn]
    return sparse_rows([(t, rng.random(len(t), dtype=np.float32) + 0.1) for t in terms], WIDTH)


def search_ratio() -> float:
    """Median time of a single query by scipy over ours."""
    from rankstone.runners.search.exact.inverted_index import InvertedIndex

    rng = np.random.default_rng(0)
    documents, queries = vectors(rng, N_DOCUMENTS, 120), vectors(rng, N_QUERIES, 30)
    index = InvertedIndex.build([documents])
    transposed, asked = documents.matrix().T.tocsr(), queries.matrix()
    mine, peers = [], []
    for row in range(N_QUERIES):
        started = time.perf_counter()
        index.search(queries[row : row + 1], K)
        between = time.perf_counter()
        found = (asked[row : row + 1] @ transposed).toarray()[0]
        best = np.argpartition(-found, K)[:K]
        best[np.argsort(-found[best])]
        mine.append(between - started)
        peers.append(time.perf_counter() - between)
    return statistics.median(peers) / statistics.median(mine)


def lines() -> Iterator[str]:
    apart("ours")  # converts the network, once for all
    rounds = [(apart("ours"), apart("theirs")) for _ in range(ROUNDS)]
    peer = "sentence_transformers.SparseEncoder"
    faster = statistics.median(b["seconds"] / a["seconds"] for a, b in rounds)
    yield f"speed sparse_encoding ratio={faster:.2f} goal=>=2 peer={peer}"
    smaller = statistics.median(a["bytes"] / b["bytes"] for a, b in rounds)
    yield f"speed sparse_encoding_memory ratio={smaller:.3f} goal=<=0.1 peer={peer}"
    yield f"speed sparse_search ratio={search_ratio():.2f} goal=>=1.5 peer=scipy csr product"


if __name__ == "__main__":
    sys.stdout.write("\n" + json.dumps(measured(sys.argv[1])) + "\n")
