"""Ranks of the judged documents, and the ranks that ties would also allow.

Judgements are few and hits are many (7,437 and 6,980,000 on MS MARCO dev), so measures are computed
only from the ranks of the judged documents.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from rankstone.arrays import Flags, Ints
from rankstone.benchmarks.dataset import Judgements
from rankstone.evaluation.ranking import Ranking
from rankstone.runners.search.hits import BLOCK_ROWS

UNRANKED = 2**31
"""Rank of a judged document that was not retrieved: deeper than any cutoff."""

MANY = 64
"""Judgements per query from which looking up every hit is cheaper than every judgement."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Judgements with their ranks, sorted by query, then rank.

    The first three arrays have one entry per judgement.
    """

    query: Ints
    label: Ints
    rank: Ints
    """Rank from 1; `UNRANKED` if the document was not retrieved."""
    n_results: Ints
    """(n_queries,) number of results of each query."""

    @property
    def n_queries(self) -> int:
        return len(self.n_results)

    def above(self, deepest: int) -> Placement:
        """Return only the judgements of documents at ranks up to `deepest`."""
        kept = self.rank <= deepest
        label, query = self.label[kept], self.query[kept]
        return replace(self, query=query, label=label, rank=self.rank[kept])

    def n_labelled(self, least: int) -> Ints:
        """Return (n_queries,) numbers of documents with a label of at least `least`."""
        return np.bincount(self.query[self.label >= least], minlength=self.n_queries)

    def moved(self, rank: Ints) -> Placement:
        """Return the same judgements at other ranks."""
        order = np.lexsort((rank, self.query))
        label, query = self.label[order], self.query[order]
        return replace(self, query=query, label=label, rank=rank[order])


def place(ranking: Ranking, judgements: Judgements) -> Placement:
    """Find the rank of every judged document in its query's row.

    Documents outside the corpus (position -1) are never found.
    """
    rank = np.full(len(judgements.query), UNRANKED, dtype=np.int64)
    known = np.flatnonzero(judgements.document >= 0)
    query, document = judgements.query[known], judgements.document[known]
    find = _find_each if len(known) < MANY * ranking.n_queries else _look_up_all
    found, column = find(ranking.docs, query, document)
    rank[known[found]] = column + 1
    unsorted = Placement(
        query=judgements.query,
        label=judgements.label.astype(np.int64),
        rank=rank,
        n_results=ranking.n_results(),
    )
    return unsorted.moved(rank)


def _find_each(docs: Ints, query: Ints, document: Ints) -> tuple[Ints, Ints]:
    """Return indices and columns of the judgements found in `docs`, by one scan per judgement."""
    found, columns = [], []
    for start in range(0, len(query), BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        entry, column = np.nonzero(docs[query[block]] == document[block, None])
        found.append(entry + start)
        columns.append(column)
    empty = [np.empty(0, dtype=np.int64)]
    return np.concatenate(found or empty), np.concatenate(columns or empty)


def _look_up_all(docs: Ints, query: Ints, document: Ints) -> tuple[Ints, Ints]:
    """Return the same by a binary search for every hit; the number of judgements hardly matters."""
    stride = max(int(docs.max(initial=0)), int(document.max(initial=0))) + 1
    keys = query * stride + document
    order = np.argsort(keys)
    row, column = np.nonzero(docs >= 0)
    wanted = row * stride + docs[row, column]
    at = np.minimum(np.searchsorted(keys, wanted, sorter=order), len(keys) - 1)
    match = keys[order[at]] == wanted
    return order[at[match]], column[match]


def tie_bounds(ranking: Ranking, placement: Placement) -> tuple[Placement, Placement]:
    """Return the best and the worst placement among the orders that ties allow.

    Within a run of equal scores, the best order puts judged documents first, by descending label;
    the worst puts them last, by ascending label. These are the extremes of every measure that never
    decreases when a document with a higher label moves up, which holds for all core measures. Only
    ties inside the ranking are known: documents truncated at the depth that tie with the last one
    are not considered.
    """
    entries = np.flatnonzero(ranking.tied[placement.query] & (placement.rank < UNRANKED))
    if entries.size == 0:
        return placement, placement
    query = placement.query[entries]
    first, last = _tie_spans(ranking, placement, entries)
    order = np.lexsort((-placement.label[entries], first, query))
    offset = np.empty(len(entries), dtype=np.int64)
    offset[order] = within_runs(query[order] * UNRANKED + first[order])
    best, worst = placement.rank.copy(), placement.rank.copy()
    best[entries] = first + offset
    worst[entries] = last - offset
    return placement.moved(best), placement.moved(worst)


def _tie_spans(ranking: Ranking, placement: Placement, entries: Ints) -> tuple[Ints, Ints]:
    """Return the first and last rank of the run of equal scores around each of the `entries`."""
    query, rank = placement.query[entries], placement.rank[entries]
    score = ranking.scores[query, rank - 1]
    first = _first(lambda at: ranking.scores[query, at] <= score, 0 * rank, rank - 1)
    last = _first(lambda at: ranking.scores[query, at] < score, rank, placement.n_results[query])
    return first + 1, last


def _first(holds: Callable[[Ints], Flags], low: Ints, high: Ints) -> Ints:
    """Return the first column from `low` on for which `holds`, or `high`, by a binary search."""
    while (inside := low < high).any():
        middle = (low + high) // 2
        found = holds(np.where(inside, middle, 0))
        low, high = (
            np.where(inside & ~found, middle + 1, low),
            np.where(inside & found, middle, high),
        )
    return high


def within_runs(keys: Ints) -> Ints:
    """Return the position, from 0, of each entry in its run of equal adjacent `keys`."""
    index = np.arange(len(keys), dtype=np.int64)
    new = np.ones(len(keys), dtype=np.bool_)
    new[1:] = keys[1:] != keys[:-1]
    return index - np.maximum.accumulate(np.where(new, index, 0))
