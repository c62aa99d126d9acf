"""Statistics of a collection: lengths, labels, duplicates and anomalies.

The corpus is read once, block by block. Memory use is eight bytes per document (to find duplicates)
and one entry per distinct length.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rankstone.arrays import Ints
from rankstone.benchmarks.dataset import Dataset, walk


@dataclass(frozen=True, kw_only=True)
class Bin:
    """One bar of a histogram: the number of values in `low`..`high`, both inclusive."""

    low: int
    high: int
    count: int


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """Distribution of non-negative integers; quantiles interpolate linearly, as in numpy."""

    count: int
    min: int
    median: float
    mean: float
    p95: float
    max: int
    histogram: tuple[Bin, ...]
    """Bars 0, 1, 2..3, 4..7, ..., from the smallest to the largest value, including empty bars."""


@dataclass(frozen=True, kw_only=True)
class Lengths:
    characters: Distribution
    """Unicode code points."""
    words: Distribution
    """Number of white-space separated words."""


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Statistics of one task's data: its corpus, and the judged queries of its split."""

    task: str
    source: str
    documents: Lengths
    """Texts as methods read them, with the task's template applied."""
    queries: Lengths
    labels: tuple[tuple[int, int], ...]
    """(label, number of judgements), by label."""
    judgements_per_query: Distribution | None
    """None if the task is judged by answers: judgements exist only for a run."""
    n_duplicate_documents: int
    """Number of documents with the text of an earlier one, empty documents included. Found by
    64-bit hashes: with 21 million documents the probability of a false duplicate is about 1 in
    80,000."""
    n_duplicate_queries: int
    """Number of queries with the text of an earlier one."""
    n_empty_documents: int
    n_self_hit_candidates: int
    """Number of queries whose id is also the id of a document."""
    n_queries_without_relevant: int | None
    """Number of queries without a label at or above the task's threshold; they always score 0. None
    if the task is judged by answers."""
    n_unknown_documents: int | None
    """Judgements of documents not in the corpus. None if the task is judged by answers."""
    n_unjudged_queries: int | None
    """Number of queries of the queries file without a judgement in this split. None if the task is
    judged by answers, which uses all queries."""

    def as_json(self) -> dict[str, Any]:
        """Return plain dictionaries, lists, strings and numbers, for `json.dumps`."""
        return asdict(self)


def statistics(dataset: Dataset) -> Statistics:
    """Return the statistics of `dataset`, read from its opened corpus, queries and judgements."""
    judged = dataset.judgements
    n_queries = len(dataset.query_ids)
    relevant = np.zeros(n_queries, dtype=bool)
    relevant[judged.query[judged.label >= dataset.task.relevance]] = True
    labels, counts = np.unique(judged.label, return_counts=True)
    per_query = np.bincount(judged.query, minlength=n_queries)
    by_answers = dataset.task.judge == "answers"
    documents, queries = _Texts(), _Texts()
    for block in walk(dataset.corpus):
        documents.add(block)
    queries.add(dataset.query_texts)
    return Statistics(
        task=dataset.task.name,
        source=dataset.source,
        documents=documents.lengths(),
        queries=queries.lengths(),
        labels=tuple(zip(labels.tolist(), counts.tolist(), strict=True)),
        judgements_per_query=None if by_answers else distribution(Counter(per_query.tolist())),
        n_duplicate_documents=documents.n_duplicates(),
        n_duplicate_queries=queries.n_duplicates(),
        n_empty_documents=documents.characters[0],
        n_self_hit_candidates=int((dataset.self_positions >= 0).sum()),
        n_queries_without_relevant=None if by_answers else int((~relevant).sum()),
        n_unknown_documents=None if by_answers else dataset.n_unknown_documents,
        n_unjudged_queries=None if by_answers else dataset.n_unjudged_queries,
    )


class _Texts:
    """Lengths and hashes of texts, accumulated by block."""

    def __init__(self) -> None:
        self.characters: Counter[int] = Counter()
        self.words: Counter[int] = Counter()
        self._hashes: list[Ints] = []

    def add(self, block: Iterable[str]) -> None:
        texts = list(block)
        self.characters.update(map(len, texts))
        self.words.update(len(text.split()) for text in texts)
        # Python's hash is seeded per process, so that collisions cannot be constructed.
        self._hashes.append(np.fromiter(map(hash, texts), dtype=np.int64, count=len(texts)))

    def lengths(self) -> Lengths:
        return Lengths(characters=distribution(self.characters), words=distribution(self.words))

    def n_duplicates(self) -> int:
        hashes = np.concatenate([np.zeros(0, dtype=np.int64), *self._hashes])
        hashes.sort()
        return int((hashes[1:] == hashes[:-1]).sum())


def distribution(counts: Mapping[int, int]) -> Distribution:
    """Return the distribution of values, given as value -> count.

    Raises:
        ValueError: there is no value, or a negative one.
    """
    values = np.array(sorted(counts), dtype=np.int64)
    if not len(values) or values[0] < 0:
        raise ValueError("expected at least one value, and none below 0")
    times = np.array([counts[value] for value in values.tolist()], dtype=np.int64)
    ends = np.cumsum(times)
    total = int(ends[-1])

    def quantile(share: float) -> float:
        place = share * (total - 1)
        below = int(place)
        pair = values[np.searchsorted(ends, [below, min(below + 1, total - 1)], side="right")]
        return float(pair[0] + (place - below) * (pair[1] - pair[0]))

    return Distribution(
        count=total,
        min=int(values[0]),
        median=quantile(0.5),
        mean=float(values @ times) / total,
        p95=quantile(0.95),
        max=int(values[-1]),
        histogram=_bars(values, times),
    )


def _bars(values: Ints, times: Ints) -> tuple[Bin, ...]:
    """Return bars by powers of two: 0, 1, 2..3, 4..7, ..."""
    places = np.array([value.bit_length() for value in values.tolist()])
    heights = np.bincount(places, weights=times)
    first = int(places[0])
    return tuple(
        Bin(low=(1 << n) >> 1, high=(1 << n) - 1, count=int(heights[n]))
        for n in range(first, len(heights))
    )
