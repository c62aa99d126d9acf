"""What a binariser learns from: vectors of documents, checked."""

from __future__ import annotations

import numpy as np

from rankstone.errors import AdapterError
from rankstone.runners.protocols import Chunks
from rankstone.runners.search.binary.binariser import check
from rankstone.runners.search.binary.bit_planes import Vectors


def sampled(documents: Chunks[Vectors], n: int, seed: int) -> Vectors:
    """(n, dim) vectors of at most `n` documents.

    Raises AdapterError for NaN or infinite values, or if there is no document.
    """
    if not len(documents):
        raise AdapterError("no code can be made for an empty collection: it has no vectors.")
    vectors = np.asarray(documents.sample(n, seed), dtype=np.float32)
    check(vectors, vectors.shape[-1])
    return vectors
