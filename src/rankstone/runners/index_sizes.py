"""Computed size of an index, before it is built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rankstone.runners.protocols import AnyRunner
from rankstone.runners.search.exact.flat import BLOCK_BYTES, ExactIndex
from rankstone.runners.search.exact.inverted_index import InvertedIndex
from rankstone.runners.search.exact.maxsim import MaxSimIndex

FROM_DISK = [kind.DESCRIPTION for kind in (ExactIndex, InvertedIndex, MaxSimIndex)]
"""Indexes that are read from disk, block by block, if they exceed memory."""


def index_bytes(runner: AnyRunner, n: int, *, resident_limit: int) -> int | None:
    """Return the size in bytes of the index of `runner` over `n` documents; None if unknown.

    A search algorithm computes its own by `index_bytes(n, dim)`.
    """
    query = runner.encode(["warm up"], "query")
    if not isinstance(query, np.ndarray) or query.ndim != 2:
        return None
    own = getattr(runner, "index_bytes", None)
    if own is not None:
        bytes_: int | None = own(n, query.shape[1])
        return bytes_
    exact = runner.describe().get("index") == ExactIndex.DESCRIPTION
    return exact_bytes(n, query.shape[1], resident_limit) if exact else None


def is_read_from_disk(runner: AnyRunner) -> bool:
    """Return True if the index of `runner`, or of its first stage, may exceed memory."""
    described: Any = runner.describe()
    while isinstance(described.get("first"), Mapping):
        described = described["first"]
    return described.get("index") in FROM_DISK


def exact_bytes(n: int, dim: int, resident_limit: int) -> int:
    """Return the bytes of float32 vectors, or of the buffer for blocks read from disk."""
    whole = 4 * dim * n
    return whole if whole <= resident_limit else min(whole, BLOCK_BYTES // (4 * dim) * 4 * dim)
