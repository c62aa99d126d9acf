"""A dense cell whose documents come from the cache, from process start to stored record.

The collection is generated and has SciFact's size: 5,183 documents, 300 queries of 12 words. The
shards hold random unit vectors, since what they hold costs nothing.
"""

import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import rankstone
from rankstone.benchmarks.dataset import Sources
from rankstone.benchmarks.store import open_dataset
from rankstone.encodings.cache import EncodingCache
from rankstone.profiling.clock import Clock
from rankstone.runners.construct import build_runner
from rankstone.workspace import Workspace
from tests.beir_layout import write_beir
from tests.speed.bench_bm25_cell import words

DOCUMENTS, QUERIES, ROUNDS = 5_183, 300, 3
GOAL_S = 5.0
RUNNERS = Path(__file__).parents[2] / "runners"
METHOD = "dense/all-minilm-l6-v2"
TASK = """
[tasks.words]
description = "Generated."
loader = "beir"
"""


def lines() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        workspace(place)
        fill(place)
        ratio = statistics.median(cell(place) for _ in range(ROUNDS)) / GOAL_S
    yield f"speed dense-cell-from-cache ratio={ratio:.2f} goal=<=1 peer={GOAL_S:g} s"


def workspace(place: Path) -> None:
    """Definitions and data of the generated task."""
    rng = np.random.default_rng(0)
    for new in (place / "benchmarks", place / "runners" / "dense"):
        new.mkdir(parents=True)
    (place / "benchmarks" / "generated.toml").write_text(TASK)
    shutil.copy(RUNNERS / f"{METHOD}.toml", place / "runners" / "dense")
    documents, queries = (
        {f"{letter}{i}": words(rng, length) for i in range(number)}
        for letter, number, length in (("d", DOCUMENTS, 200), ("q", QUERIES, 12))
    )
    judged = [(f"q{i}", f"d{i}") for i in range(QUERIES)]
    write_beir(place / "data" / "generated" / "words", documents, queries, test=judged)


def fill(place: Path) -> None:
    """Shards under the runner's own key, without a forward pass."""
    defined, sources = Workspace.find(place), Sources.find(place / "data", place / "cache")
    task = defined.task("words")
    dataset, rng = open_dataset(task, sources), np.random.default_rng(0)
    runner = build_runner(defined.method(METHOD))

    class StandIn(type(runner)):  # type: ignore[misc] - the class is known when it runs
        def encode(self, texts, role):
            vectors = rng.standard_normal((len(texts), 384), dtype=np.float32)
            return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

        def truncation(self, texts, role):
            return None

    material = {"corpus": dataset.sha256["corpus"], "text": task.text}
    cache = EncodingCache(
        folder=sources.cache / "encodings",
        corpus=dataset.corpus,
        key_material=material,
        clock=Clock(),
    )
    stand_in = object.__new__(StandIn)
    stand_in.__dict__.update(runner.__dict__)
    key = cache.key(runner)
    cache.key = lambda _: key  # type: ignore[method-assign]
    list(cache.chunks(stand_in))


def cell(place: Path) -> float:
    """Seconds of one cell, measured from outside."""
    start = time.perf_counter()
    (record,) = rankstone.run(
        METHOD,
        "words",
        workspace=place,
        data=place / "data",
        cache=place / "cache",
        results=place / "results",
        force=True,
    )
    seconds = time.perf_counter() - start
    if record.status != "ok" or record.profile.phases["encode_documents"].from_cache != 1:
        raise RuntimeError(record.error or "nothing came from the cache")
    return seconds
