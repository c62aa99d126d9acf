"""Batches of texts of similar length, and tokenisation in the background."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from rankstone.runners.transformer.tokens import Tokenised

WINDOW_TEXTS, WINDOW_CHARACTERS = 256, 4_000_000
"""Size of a window: texts tokenised at once, while the previous window is encoded."""


def by_length(
    lengths: NDArray[np.int64], *, batch_tokens: int, batch_size: int
) -> Iterator[NDArray[np.int64]]:
    """Yield rows of similar length, longest first, within `batch_tokens` including padding."""
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        fitting = int(batch_tokens // max(lengths[order[start]], 1))
        stop = start + min(max(fitting, 1), batch_size)
        yield order[start:stop]
        start = stop


def windows(texts: Sequence[str], most: int = WINDOW_TEXTS) -> Iterator[slice]:
    """Yield slices of consecutive texts whose tokens need bounded memory."""
    start = size = 0
    for row, text in enumerate(texts):
        if row - start == most or (row > start and size + len(text) > WINDOW_CHARACTERS):
            yield slice(start, row)
            start, size = row, 0
        size += len(text)
    if len(texts) > start:
        yield slice(start, len(texts))


def ahead(
    tokenise: Callable[[slice], Tokenised], parts: Iterator[slice]
) -> Iterator[tuple[int, Tokenised]]:
    """Yield (start, tokens) of each part, while a thread tokenises the next."""
    current = next(parts, None)
    if current is None:
        return
    following = next(parts, None)
    ready = tokenise(current)
    if following is None:  # e.g. a single query: no thread
        yield current.start, ready
        return
    with ThreadPoolExecutor(max_workers=1) as thread:
        while True:
            made = thread.submit(tokenise, following) if following is not None else None
            yield current.start, ready
            if made is None or following is None:
                return
            current, ready, following = following, made.result(), next(parts, None)
