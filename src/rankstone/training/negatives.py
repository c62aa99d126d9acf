"""Negatives of training pairs, mined by exact search."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from rankstone.arrays import Ints
from rankstone.errors import DataError
from rankstone.runners.construct import build_runner
from rankstone.runners.protocols import AnyRunner
from rankstone.runners.testing import MemoryChunks, PlainContext
from rankstone.specs import MethodSpec, Recipe
from rankstone.training.data import BLOCK, Examples, normalised

BM25 = MethodSpec(name="lexical/bm25", description="Source of negatives.", adapter="bm25")
ROUNDS = 10
"""Rounds of random sampling before all documents are scanned."""


def with_negatives(
    recipe: Recipe, examples: Examples, rows: Ints, positives: Ints, start: AnyRunner
) -> Ints:
    """Return (n_pairs, 1 + negatives) positions: the relevant document, then its negatives.

    No negative is judged relevant to the query or duplicates the text of a relevant document. If
    there are too few search results, random documents are added.

    Args:
        rows: (n_pairs,) rows of the queries.
        positives: (n_pairs,) positions of the relevant documents.
        start: Encoder that retrieves the candidates for `negatives = "start"`.
    """
    if recipe.negatives == "batch":
        return positives[:, None]
    asked = np.unique(rows)
    found = _candidates(recipe, examples, asked, start)
    rng = np.random.default_rng([recipe.seed, 1])
    chosen = np.empty((len(rows), 1 + recipe.per_pair), dtype=np.int64)
    chosen[:, 0] = positives
    for number, row in enumerate(rows.tolist()):
        pool = found[row] if len(found) else np.empty(0, np.int64)
        chosen[number, 1:] = _drawn(pool, examples, row, recipe.per_pair, rng)
    return chosen


def as_pooled(recipe: Recipe, examples: Examples) -> Examples:
    """Keep only the relevant documents in the BM25 pool, and the queries that have one.

    Raises:
        DataError: no query is left.
    """
    if recipe.pooled is None:
        return examples
    every = np.arange(len(examples.queries), dtype=np.int64)
    hits = _search(build_runner(BM25), examples, every, recipe.pooled)
    judged = [
        found[np.isin(found, docs)] for found, docs in zip(examples.relevant, hits, strict=True)
    ]
    kept = np.flatnonzero([len(found) > 0 for found in judged])
    if not len(kept):
        raise DataError(
            f"[training]: BM25 has no relevant document among its first {recipe.pooled}."
            " Set a larger 'pooled'."
        )
    return examples._replace(relevant=judged).at(kept)


def _drawn(pool: Ints, examples: Examples, row: int, n: int, rng: np.random.Generator) -> Ints:
    """Return (n,) random positions from `pool`, then from all documents, repeated if too few."""
    drawn, size = rng.permutation(pool)[:n], len(examples.documents)
    for _ in range(ROUNDS):
        if len(drawn) >= n:
            return drawn[:n]
        drawn = _distinct(drawn, _others(examples, row, rng.integers(size, size=2 * n)))
    drawn = _distinct(drawn, _others(examples, row, rng.permutation(size)))
    if not len(drawn):
        raise DataError(
            f"[training]: every document is relevant to {examples.queries[row]!r:.80} or a copy of"
            ' one that is, so it has no negative. Set negatives = "batch".'
        )
    return np.resize(drawn, n)


def _distinct(first: Ints, more: Ints) -> Ints:
    both = np.concatenate([first, more])
    return both[np.sort(np.unique(both, return_index=True)[1])]


def _candidates(
    recipe: Recipe, examples: Examples, asked: Ints, start: AnyRunner
) -> dict[int, Ints]:
    """Return the `depth` best results of each query that are not relevant."""
    if recipe.negatives == "random":
        return {}
    runner = build_runner(BM25) if recipe.negatives == "bm25" else start
    most = max(len(examples.relevant[row]) for row in asked.tolist())
    hits = _search(runner, examples, asked, recipe.depth + most)
    return {
        row: _others(examples, row, docs)[: recipe.depth]
        for row, docs in zip(asked.tolist(), hits, strict=True)
    }


def _search(runner: AnyRunner, examples: Examples, asked: Ints, k: int) -> Ints:
    k = min(k, len(examples.documents))
    with tempfile.TemporaryDirectory(prefix="rankstone-") as work:
        context = PlainContext(texts=[], work=Path(work))
        texts: Any = examples.documents  # a sequence of slices
        index = runner.index(MemoryChunks(runner, texts, BLOCK), context)
        queries = runner.encode([examples.queries[row] for row in asked.tolist()], "query")
        docs: Ints = index.search(queries, k).docs
        return docs


def _others(examples: Examples, row: int, docs: Ints) -> Ints:
    """Return the results that are neither relevant nor duplicates of a relevant document."""
    docs = docs[(docs >= 0) & ~np.isin(docs, examples.relevant[row])]
    texts = map(normalised, examples.documents.take(docs))
    right = set(map(normalised, examples.documents.take(examples.relevant[row])))
    return docs[[text not in right for text in texts]] if len(docs) else docs
