"""Recall of an index with respect to exact search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rankstone.arrays import Ints
from rankstone.predicates import Where
from rankstone.runners.protocols import Context
from rankstone.runners.search.base import OverEncoder
from rankstone.runners.search.exact.flat import ExactIndex
from rankstone.runners.search.filtered import FilteredSearch

FIRST = 10
"""Depth of the comparison, as in the name `IndexSize.recall_10`."""


def exact_best(
    runner: Any,
    texts: Sequence[str],
    k: int,
    context: Context,
    wheres: Sequence[Where | None] | None = None,
) -> Ints | None:
    """Return the (n, k) results of exact search for n queries, with their filters; None for methods
    that do not approximate exact search. The encoder's vectors are read in blocks."""
    if not (isinstance(runner, OverEncoder) and runner.APPROXIMATES):
        return None
    queries, vectors = runner.encode(texts, "query"), context.encoded(runner.encoder)
    search = FilteredSearch(ExactIndex(vectors, dim=queries.shape[1]), wheres)
    found: Ints = search.search(queries, range(len(texts)), k).docs
    return found


def recall_of_exact(
    runner: Any,
    texts: Sequence[str],
    found: Ints,
    context: Context,
    wheres: Sequence[Where | None] | None = None,
) -> float | None:
    """Return the mean recall of exact search's `FIRST` best among the `FIRST` best found.

    None for methods that do not approximate exact search, and if no document passes the filters.

    Args:
        texts: n queries.
        found: (n, k) positions, best first.
        wheres: filters of the queries, also applied to exact search; None: no filters.
    """
    exact = exact_best(runner, texts, FIRST, context, wheres)
    if exact is None:
        return None
    pairs = zip(exact, found[:, :FIRST], strict=True)
    shares = [np.isin(best[best >= 0], docs).mean() for best, docs in pairs if best[0] >= 0]
    return float(np.mean(shares)) if shares else None
