"""Filtered search: by the index itself, or by filtering its results."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rankstone.errors import AdapterError
from rankstone.predicates import Where
from rankstone.runners.protocols import AnyIndex, Filtering, Hits
from rankstone.runners.representations.base import take
from rankstone.runners.search.hits import checked

How = Literal["native", "before", "after"]


class FilteredSearch:
    """Search of `index` with the filters of a task's queries.

    Args:
        wheres: Filter of each query, by row, None for a query without one; or None: search without
        filters.
    """

    def __init__(self, index: AnyIndex, wheres: Sequence[Where | None] | None) -> None:
        self._index, self._wheres = index, wheres

    @property
    def how(self) -> How:
        return self._index.filtering if isinstance(self._index, Filtering) else "after"

    def search(self, queries: Any, rows: Sequence[int], k: int) -> Any:
        """Return the results for `queries`, which are the task's queries `rows`.

        Raises:
            AdapterError: a result does not pass the filter of its query.
        """
        if self._wheres is None:
            return self._index.search(queries, k)
        wheres, found, start = [self._wheres[row] for row in rows], [Hits.empty(0, k)], 0
        for where, run in itertools.groupby(wheres):
            stop = start + len(list(run))
            found.append(self._among(queries[start:stop], k, where))
            start = stop
        return Hits(*map(np.concatenate, zip(*found, strict=True)))

    def _among(self, queries: Any, k: int, where: Where | None) -> Hits:
        if where is None:
            return self._index.search(queries, k)
        if not isinstance(self._index, Filtering):
            return searched_after(checked(self._index, where.passes), queries, k, where)
        hits = self._index.search_where(queries, k, where)
        outside = hits.docs[hits.docs >= 0][~where.passes[hits.docs[hits.docs >= 0]]]
        if len(outside):
            raise AdapterError(
                f"{type(self._index).__name__}: the document at position {outside[0]} does not pass"
                " the filter of its query. search_where must return passing documents alone."
            )
        return hits


def searched_after(index: AnyIndex, queries: Any, k: int, where: Where) -> Hits:
    """Return the `k` best passing documents of each query, by filtering the results of `index`.

    The initial depth is expected to contain `k` passing results if these are spread randomly; it is
    doubled for queries that have fewer, and so on.
    """
    n, passing = len(where.passes), int(where.passes.sum())
    hits, wanted = Hits.empty(len(queries), k), min(k, passing)
    depth = math.ceil(k * n / passing) if passing else n
    rows = np.arange(len(queries) if passing else 0)
    while len(rows):
        depth = min(depth, n)
        asked = queries if len(rows) == len(queries) else take(queries, rows)
        found = index.search(asked, depth)
        complete = found.docs[:, -1] < 0
        hits.docs[rows], hits.scores[rows] = first_passing(found, where.passes, k)
        lacking = (hits.docs[rows] >= 0).sum(axis=1) < wanted
        rows = rows[lacking & ~complete & (depth < n)]
        depth *= 2
    return hits


def first_passing(found: Hits, passes: NDArray[np.bool_], k: int) -> Hits:
    """Return the first `k` results of each row that pass, in their order."""
    inside = (found.docs >= 0) & passes[found.docs]
    hits, column = Hits.empty(len(found.docs), k), np.cumsum(inside, axis=1) - 1
    rows, places = np.nonzero(inside & (column < k))
    hits.docs[rows, column[rows, places]] = found.docs[rows, places]
    hits.scores[rows, column[rows, places]] = found.scores[rows, places]
    return hits
