"""A sample of a data set: some of its documents, possibly repeated, and its queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rankstone.arrays import Ints
from rankstone.benchmarks.dataset import Corpus, Dataset, Judgements

BLOCK = 1024
"""Number of documents whose lengths are read together: those of a shard."""
BLOCKS = 16
"""Number of blocks that are read from a large collection."""


class SampledCorpus:
    """Documents of `corpus` at `positions`."""

    def __init__(self, corpus: Corpus, positions: Ints) -> None:
        self._corpus, self._positions = corpus, positions

    def __len__(self) -> int:
        return len(self._positions)

    def ids(self, positions: Ints) -> list[str]:
        return self._corpus.ids(self._positions[positions])

    def texts(self, start: int, stop: int) -> list[str]:
        return self._corpus.take(self._positions[start:stop])

    def take(self, positions: Ints) -> list[str]:
        return self._corpus.take(self._positions[positions])

    def passages(self, positions: Ints) -> list[str]:
        return self._corpus.passages(self._positions[positions])

    def positions(self, ids: Sequence[str]) -> Ints:
        return places(self._positions, self._corpus.positions(ids))


class Lengths:
    """Lengths of the documents of a collection, or of random blocks of a large one."""

    def __init__(self, corpus: Corpus, seed: int) -> None:
        blocks = np.arange(-(-len(corpus) // BLOCK))
        if len(blocks) > BLOCKS:
            rng = np.random.default_rng(seed)
            blocks = np.sort(rng.choice(len(blocks) - 1, BLOCKS, replace=False))
        starts = [(at * BLOCK, min((at + 1) * BLOCK, len(corpus))) for at in blocks.tolist()]
        self.positions = np.concatenate(
            [np.empty(0, np.int64), *(np.arange(*start) for start in starts)]
        )
        texts = (text for start in starts for text in corpus.texts(*start))
        self.characters = np.fromiter(map(len, texts), np.int64, len(self.positions))

    def chosen(self, n: int) -> Ints:
        """Return `n` positions, ascending, whose lengths are evenly spaced quantiles."""
        order = np.argsort(self.characters, kind="stable")
        ranks = ((np.arange(n) + 0.5) * len(order) / n).astype(np.int64)
        return np.sort(self.positions[order[ranks]])


def sampled(dataset: Dataset, positions: Ints, n_queries: int) -> Dataset:
    """Return the data set of the documents at `positions` and of the first queries."""
    judged, kept = dataset.judgements, dataset.judgements.query < n_queries
    own = Judgements(
        query=judged.query[kept],
        document=places(positions, judged.document[kept]),
        label=judged.label[kept],
    )
    return replace(
        dataset,
        corpus=SampledCorpus(dataset.corpus, positions),
        query_ids=dataset.query_ids[:n_queries],
        query_texts=dataset.query_texts[:n_queries],
        judgements=own,
        train_judgements=_present(dataset.train_judgements, positions),
        self_positions=places(positions, dataset.self_positions[:n_queries]),
        answers=None if dataset.answers is None else dataset.answers[:n_queries],
        filters=None,  # forecasts are for searches among all documents
    )


def places(positions: Ints, wanted: Ints) -> Ints:
    """Return the first index of each of `wanted` in `positions`, in any order; -1 if absent."""
    if not len(positions):
        return np.full(len(wanted), -1, dtype=np.int64)
    order = np.argsort(positions, kind="stable")
    found = np.minimum(np.searchsorted(positions[order], wanted), len(order) - 1)
    at = order[found]
    return np.where((positions[at] == wanted) & (wanted >= 0), at, -1)


def _present(judged: Judgements, positions: Ints) -> Judgements:
    document = places(positions, judged.document)
    kept = document >= 0
    return Judgements(query=judged.query[kept], document=document[kept], label=judged.label[kept])
