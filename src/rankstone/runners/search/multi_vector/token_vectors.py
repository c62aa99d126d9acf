"""Parts shared by searches by single vectors over several per text."""

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
"""Documents handled together."""


def parts(documents: Iterable[Ragged]) -> Iterator[tuple[str, Ragged]]:
    """(where they are, some consecutive documents), for messages and for bounded memory."""
    position = 0
    for piece in documents:
        for start in range(0, len(piece), PART):
            yield f"documents from position {position + start}", piece[start : start + PART]
        position += len(piece)


def float_tokens(texts: Ragged, dim: int, where: str) -> Floats:
    """(n_tokens, dim) vectors of all texts; an AdapterError for NaN, infinity, or another `dim`.

    `dim` 0: any.
    """
    check_dim(texts, dim, where)
    tokens = np.asarray(decoded(texts.tokens), dtype=np.float32)
    if not is_finite(tokens):
        raise AdapterError(
            f"{where}: vectors hold NaN or infinite values: the encoder is at fault."
        )
    return tokens
