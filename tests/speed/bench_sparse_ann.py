"""Approximate search over learned sparse vectors against the exact inverted lists and scipy.

100,000 vectors of about 100 terms, single queries of about 30, k = 10, one thread. Vectors are
drawn from 400 topics, so that neighbours share terms as texts do. Recall is of the 10 documents
that exact search finds. Exact search looks at every document that has a term of the query and so
grows with the collection: at 20,000 vectors it is as fast as the others, at 5,000 it is faster.
`RANKSTONE_SCALE` takes that part of the vectors; the goals are those of all.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rankstone.runners.representations.sparse_rows import SparseRows, sparse_rows
from rankstone.runners.search.exact.inverted_index import InvertedIndex
from rankstone.runners.search.rescoring import RescoredIndex, ScoredRepresentations
from rankstone.runners.search.sparse.seismic import Seismic
from rankstone.runners.search.sparse.two_step import PrunedIndex, TwoStep
from rankstone.runners.testing import PlainContext

N_DOCUMENTS = int(100_000 * float(os.environ.get("RANKSTONE_SCALE", "1")))
N_QUERIES, WIDTH, K = 60, 30_522, 10
TOPICS, SHARED, COMMON = 400, 300, 2_000


def vectors(seed: int, n: int, draws: int) -> SparseRows:
    """Sparse vectors of texts on one topic each: half of their terms are its own."""
    topics = np.random.default_rng(7).integers(0, WIDTH, (TOPICS, SHARED))
    rng = np.random.default_rng(seed)
    shares = 1 / np.arange(10, SHARED + 10)
    own = rng.choice(SHARED, (n, draws // 2), p=shares / shares.sum())
    about = np.take_along_axis(topics[rng.integers(0, TOPICS, n)], own, axis=1)
    shares = 1 / np.arange(10, COMMON + 10)
    common = rng.choice(COMMON, (n, draws // 2), p=shares / shares.sum())
    rows = []
    for terms in map(np.unique, np.concatenate([about, common], axis=1)):
        heavy = np.where(terms < COMMON, 0.3, 1.0)  # what is common weighs less
        rows.append((terms, (heavy * rng.gamma(2, 0.5, len(terms))).astype(np.float32)))
    return sparse_rows(rows, WIDTH)


class Stored:
    """Vectors as an encoded corpus."""

    def __init__(self, rows: SparseRows) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[SparseRows]:
        yield self.rows

    def take(self, positions: np.ndarray) -> SparseRows:
        from rankstone.runners.representations.base import take

        found: SparseRows = take(self.rows, positions)
        return found


def timed(search: Callable[[SparseRows], Any], queries: SparseRows) -> tuple[float, np.ndarray]:
    """Median seconds of a single query, and the documents found."""
    seconds, found = [], []
    for row in range(len(queries)):
        started = time.perf_counter()
        docs = search(queries[row : row + 1])
        seconds.append(time.perf_counter() - started)
        found.append(docs)
    return statistics.median(seconds), np.concatenate(found)


def scipy_search(documents: SparseRows) -> Callable[[SparseRows], np.ndarray]:
    transposed = documents.matrix().T.tocsr()

    def search(query: SparseRows) -> np.ndarray:
        scores = (query.matrix() @ transposed).toarray()[0]
        best = np.argpartition(-scores, K)[:K]
        return best[np.argsort(-scores[best])][None]

    return search


def lines() -> Iterator[str]:
    documents, queries = vectors(0, N_DOCUMENTS, 120), vectors(1, N_QUERIES, 34)
    exact = InvertedIndex.build([documents])
    with tempfile.TemporaryDirectory() as work:
        context = PlainContext(texts=[], work=Path(work))
        seismic = Seismic(members=(None,)).build(Stored(documents), context)
        step = TwoStep(members=(None,), document_terms=40, query_terms=10)
        pruned = step.build(Stored(documents), context)
    two_step = RescoredIndex(pruned, ScoredRepresentations(Stored(documents)), depth=100)
    searches = {
        "scipy csr product": scipy_search(documents),
        "exact inverted lists": lambda query: exact.search(query, K).docs,
        "seismic": lambda query: seismic.search(query, K).docs,
        "two_step": lambda query: two_step.search(query, K).docs,
    }
    for search in searches.values():
        timed(search, queries[:5])
    results = {name: timed(search, queries) for name, search in searches.items()}
    best, truth = results["exact inverted lists"]
    yield speed("sparse_exact", results["scipy csr product"][0] / best, ">=1", "scipy csr product")
    sizes: dict[str, PrunedIndex | Any] = {"seismic": seismic, "two_step": pruned}
    for name, index in sizes.items():
        seconds, docs = results[name]
        recall = np.mean([len(set(a) & set(b)) / K for a, b in zip(docs, truth, strict=True)])
        yield speed(f"sparse_{name}_recall", float(recall), ">=0.9", "exact inverted lists")
        yield speed(f"sparse_{name}_time", best / seconds, GOALS[name][0], "exact inverted lists")
        size = index.nbytes() / exact.nbytes()
        yield speed(f"sparse_{name}_memory", size, GOALS[name][1], "exact inverted lists")


GOALS = {"seismic": (">=2", "<=5"), "two_step": (">=2", "<=0.5")}
"""Of time and memory."""


def speed(name: str, ratio: float, goal: str, peer: str) -> str:
    return f"speed {name} ratio={ratio:.3f} goal={goal} peer={peer}"
