"""Which texts an encoder takes together."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


def by_length(
    lengths: NDArray[np.int64], *, batch_tokens: int, batch_size: int
) -> Iterator[NDArray[np.int64]]:
    """Rows of similar length, longest first; few enough for `batch_tokens` after padding."""
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        fitting = int(batch_tokens // max(lengths[order[start]], 1))
        stop = start + min(max(fitting, 1), batch_size)
        yield order[start:stop]
        start = stop
