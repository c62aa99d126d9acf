"""Exactness of an index: the share of the best results of exact search that it finds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rankstone.arrays import Ints
from rankstone.runners.protocols import Context
from rankstone.runners.search.base import OverEncoder
from rankstone.runners.search.exact.flat import ExactIndex

FIRST = 10
"""Results that are compared; `IndexSize.recall_10` is named by it."""


def recall_of_exact(
    runner: Any, texts: Sequence[str], found: Ints, context: Context
) -> float | None:
    """Return the mean share of the `FIRST` best of exact search among as many that were found.

    None for methods that seek something else. The encoder's vectors are read in blocks.

    Args:
        texts: n queries.
        found: (n, k) positions, best first.
    """
    if not (isinstance(runner, OverEncoder) and runner.APPROXIMATES):
        return None
    queries, vectors = runner.encode(texts, "query"), context.encoded(runner.encoder)
    exact = ExactIndex(vectors, dim=queries.shape[1]).search(queries, FIRST).docs
    pairs = zip(exact, found[:, :FIRST], strict=True)
    return float(np.mean([np.isin(best[best >= 0], docs).mean() for best, docs in pairs]))
