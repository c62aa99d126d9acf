"""Batches of all training steps, drawn in advance.

A resumed training therefore uses the same batches as an uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rankstone.arrays import Ints
from rankstone.errors import DefinitionError, did_you_mean
from rankstone.specs import Recipe
from rankstone.training.columns import Table

LIBRARY = {"no_duplicates": "NoDuplicatesBatchSampler", "random": "DefaultBatchSampler"}
"""Name -> sampler class of sentence-transformers."""
OWN = ("topics", "topics_balanced")
BINS = 10
"""Equal-width bins of a query's margins; a bin is drawn first, then a row in it (TAS-Balanced)."""
LONGEST = 1000
"""Passes over the data without a batch before giving up."""


def batches(recipe: Recipe, table: Table, dataset: Any, topics: Ints | None) -> list[list[int]]:
    """Return the rows of each step's batch.

    Args:
        dataset: The columns of `table` as a `datasets.Dataset`.
        topics: (n_rows,) topic of each row's query, for topic-aware samplers.
    """
    name = recipe.sampler
    if name in LIBRARY:
        return list(islice(_by_library(name, recipe, dataset), recipe.steps))
    if name not in OWN:
        known = [*LIBRARY, *OWN]
        raise DefinitionError(
            f"[training]: key 'sampler': no sampler '{name}'.{did_you_mean(name, known)} Known:"
            f" {', '.join(sorted(known))}."
        )
    assert topics is not None
    margins = table.margins if name == "topics_balanced" else None
    if name == "topics_balanced" and margins is None:
        raise DefinitionError(
            "[training]: the sampler 'topics_balanced' needs the margins of a teacher. State a"
            ' distillation loss, such as "margin_mse", with negatives and a teacher.'
        )
    rng = np.random.default_rng([recipe.seed, 2])
    drawn = topic_batches(topics, table.queries, recipe.batch, rng, margins)
    return list(islice(drawn, recipe.steps))


def _by_library(name: str, recipe: Recipe, dataset: Any) -> Iterator[list[int]]:
    import torch
    from sentence_transformers.base import sampler
    from torch.utils.data import RandomSampler

    size = min(recipe.batch, len(dataset))
    generator = torch.Generator().manual_seed(recipe.seed)
    source = RandomSampler(dataset, generator=generator) if name == "random" else dataset
    kind = getattr(sampler, LIBRARY[name])
    made = kind(
        source, batch_size=size, drop_last=True, generator=generator, seed=recipe.seed,
        valid_label_columns=["label"],
    )  # fmt: skip
    empty = 0
    for epoch in count():
        made.set_epoch(epoch)
        found = list(made)
        yield from found
        empty = 0 if found else empty + 1
        if empty > LONGEST:
            raise DefinitionError(
                f"[training]: no batch of {size} pairs without duplicates. Set a smaller 'batch'."
            )


def topic_batches(
    topics: Ints,
    queries: Ints,
    batch: int,
    rng: np.random.Generator,
    margins: NDArray[np.float64] | None = None,
) -> Iterator[list[int]]:
    """Yield batches whose queries share a topic (topic-aware sampling, TAS).

    A topic is drawn at random, then distinct queries of it; if it has too few, further topics are
    drawn. One row is drawn for each query: uniformly, or, with `margins`, such that the teacher's
    margins are about uniformly distributed over their range (TAS-Balanced; Hofstätter et al., SIGIR
    2021, arXiv:2104.06967).

    Args:
        topics: (n_rows,) topic of each row's query.
        queries: (n_rows,) query of each row.
        margins: (n_rows,) teacher's score of the relevant document minus that of the negative.
    """
    rows = {int(query): np.flatnonzero(queries == query) for query in np.unique(queries)}
    members = {int(topic): np.unique(queries[topics == topic]) for topic in np.unique(topics)}
    size = min(batch, len(rows))
    while True:
        chosen = list[int]()
        for topic in rng.permutation(list(members)).tolist():
            chosen += rng.permutation(members[topic])[: size - len(chosen)].tolist()
            if len(chosen) == size:
                break
        yield [_drawn(rows[query], margins, rng) for query in chosen]


def _drawn(rows: Ints, margins: NDArray[np.float64] | None, rng: np.random.Generator) -> int:
    if margins is not None:
        rows = rows[_bins(margins[rows]) == rng.choice(np.unique(_bins(margins[rows])))]
    return int(rng.choice(rows))


def _bins(margins: NDArray[np.float64]) -> Ints:
    """Return the bin of each margin."""
    width = np.ptp(margins) / BINS
    if not width:
        return np.zeros(len(margins), dtype=np.int64)
    found: Ints = np.minimum((margins - margins.min()) / width, BINS - 1).astype(np.int64)
    return found


def topics_of(vectors: NDArray[np.float32], n: int, seed: int) -> Ints:
    """Return the cluster of each of (n_queries, dim) vectors, by k-means of faiss."""
    import faiss

    n = min(n, len(vectors))
    means = faiss.Kmeans(vectors.shape[1], n, seed=seed, niter=25, min_points_per_centroid=1)
    means.train(np.ascontiguousarray(vectors, dtype=np.float32))
    found: Ints = np.asarray(means.index.search(vectors, 1)[1][:, 0], dtype=np.int64)
    return found
