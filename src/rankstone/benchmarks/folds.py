"""Folds of a split by queries: one fold is the test set, the others may be used for training.

A fold depends only on ids and judgements, not on the order of files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from rankstone.arrays import Flags, Ints
from rankstone.errors import DataError
from rankstone.specs import TaskSpec


class Pairs(NamedTuple):
    """Queries, by number, and their relevant documents, by position."""

    queries: Ints
    documents: Ints


def in_fold(
    task: TaskSpec, ids: Sequence[str], pairs: Pairs, titles: Callable[[Ints], Sequence[str]]
) -> Flags:
    """Return (n_queries,) flags of the queries that are in the task's fold.

    Args:
        ids: ids of the queries.
        pairs: relevant documents of the queries.
        titles: returns the titles of documents by position.
    """
    assert task.fold is not None
    number, k = task.fold
    mine: Flags = folds_of(_groups(task, len(ids), pairs, titles), ids, k) == number - 1
    return mine


def _groups(task: TaskSpec, n: int, pairs: Pairs, titles: Callable[[Ints], Sequence[str]]) -> Ints:
    if task.folds_by == "queries":
        return np.arange(n, dtype=np.int64)
    if task.folds_by == "documents":
        return connected(pairs.queries, pairs.documents, n)
    named = np.array(titles(pairs.documents))
    known = named != ""
    keys = np.unique(named[known], return_inverse=True)[1].astype(np.int64)
    return connected(pairs.queries[known], keys, n)


def folds_of(groups: Ints, ids: Sequence[str], k: int) -> Ints:
    """Return the (n,) fold of each query, from 0; queries of one group share a fold.

    Each group goes to the fold with the fewest queries so far. Large groups come first; groups of
    equal size are ordered by the sha256 of their first id.

    Args:
        groups: (n,) group number of each query.
        ids: ids of the queries.
    """
    names = np.array([hashlib.sha256(name.encode("utf-8")).hexdigest() for name in ids])
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    order = sorted(members, key=lambda rows: (-len(rows), min(names[rows])))
    if len(order) < k:
        raise DataError(
            f"{k} folds of {len(ids)} queries in {len(order)} groups that share documents: there"
            " are too few groups. Use fewer folds."
        )
    sizes, found = np.zeros(k, dtype=np.int64), np.empty(len(ids), dtype=np.int64)
    for rows in order:
        fold = int(sizes.argmin())
        found[rows] = fold
        sizes[fold] += len(rows)
    return found


def connected(rows: Ints, keys: Ints, n: int) -> Ints:
    """Return the (n,) group of each query: queries that share a key, directly or through others.

    Args:
        rows: query of each (query, key) pair, below `n`.
        keys: key of each pair: a document or a title.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    _, keys = np.unique(keys, return_inverse=True)
    size = n + int(keys.max(initial=-1)) + 1
    graph = coo_array((np.ones(len(rows), np.int8), (rows, keys + n)), shape=(size, size))
    groups: Ints = connected_components(graph, directed=False)[1][:n].astype(np.int64)
    return groups
