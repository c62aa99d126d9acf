"""Shared parts of single-vector search over multi-vector representations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from rankstone.errors import AdapterError
from rankstone.runners.representations.ragged import Ragged, decoded
from rankstone.runners.search.exact.flat import is_finite
from rankstone.runners.search.exact.maxsim import check_dim

Floats = NDArray[np.float32]
PART = 256
"""Documents processed at once."""


def parts(documents: Iterable[Ragged]) -> Iterator[tuple[str, Ragged]]:
    """Yield (location for messages, consecutive documents), with bounded memory."""
    position = 0
    for piece in documents:
        for start in range(0, len(piece), PART):
            yield f"documents from position {position + start}", piece[start : start + PART]
        position += len(piece)


def float_tokens(texts: Ragged, dim: int, where: str) -> Floats:
    """Return all (n_tokens, dim) vectors; AdapterError for NaN, infinity or a wrong `dim`.

    `dim` 0: any dimension.
    """
    check_dim(texts, dim, where)
    tokens = np.asarray(decoded(texts.tokens), dtype=np.float32)
    if not is_finite(tokens):
        raise AdapterError(
            f"{where}: vectors hold NaN or infinite values: the encoder is at fault."
        )
    return tokens
