"""A whole BM25 cell, from starting the process to the stored record, against bare bm25s calls.

The collection is generated: 60 words a document from a Zipf-like vocabulary.
"""

import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import rankstone
from tests.beir_layout import write_beir

DOCUMENTS, QUERIES, ROUNDS = 100_000, 2_000, 3
ALLOWANCE_S = 2.0
TASK = """
[tasks.words]
description = "Generated."
loader = "beir"
measures = ["nDCG@10", "R@100", "R@1000"]
"""
RUNNER = """
description = "BM25"
adapter = "bm25"
"""


def lines() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        documents, queries = workspace(place)
        cell(place)  # prepares the data set, which is done once and not part of a cell
        ratios = [(cell(place) - ALLOWANCE_S) / bare(documents, queries) for _ in range(ROUNDS)]
    ratio = statistics.median(ratios)
    yield f"speed bm25-cell-minus-2s ratio={ratio:.2f} goal=<=1.3 peer=bm25s"


def workspace(place: Path) -> tuple[list[str], list[str]]:
    """Definitions and data of the generated task; returns its documents and queries."""
    rng = np.random.default_rng(0)
    documents = {f"d{i}": words(rng, 60) for i in range(DOCUMENTS)}
    queries = {f"q{i}": words(rng, 6) for i in range(QUERIES)}
    for new in (place / "benchmarks", place / "runners" / "lexical"):
        new.mkdir(parents=True)
    (place / "benchmarks" / "generated.toml").write_text(TASK)
    (place / "runners" / "lexical" / "bm25.toml").write_text(RUNNER)
    judged = [(f"q{i}", f"d{i}") for i in range(QUERIES)]
    write_beir(place / "data" / "generated" / "words", documents, queries, test=judged)
    return list(documents.values()), list(queries.values())


def words(rng: np.random.Generator, n: int) -> str:
    return " ".join(f"w{i}" for i in np.minimum(rng.zipf(1.2, n), 200_000))


def cell(place: Path) -> float:
    """Seconds of one cell, measured from outside."""
    start = time.perf_counter()
    (record,) = rankstone.run(
        "bm25",
        "words",
        workspace=place,
        data=place / "data",
        cache=place / "cache",
        results=place / "results",
        force=True,
    )
    seconds = time.perf_counter() - start
    if record.status != "ok":
        raise RuntimeError(record.error)
    return seconds


def bare(documents: list[str], queries: list[str]) -> float:
    """Seconds of the same work by the library alone."""
    import bm25s
    import Stemmer

    start = time.perf_counter()
    stemmer = Stemmer.Stemmer("english")
    options = {"stopwords": "english", "stemmer": stemmer, "show_progress": False}
    index = bm25s.BM25(k1=0.9, b=0.4)
    index.index(bm25s.tokenize(documents, **options), show_progress=False)
    asked = bm25s.tokenize(queries, **options)
    index.retrieve(asked, k=1000, n_threads=2, show_progress=False)
    return time.perf_counter() - start
