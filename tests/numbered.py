"""Stand-ins for encoders, whose texts are numbers."""

import numpy as np

from rankstone.runners.protocols import Truncation
from rankstone.runners.representations.base import take
from rankstone.runners.representations.ragged import Ragged


class Numbered:
    """An encoder whose texts are row numbers of `vectors`."""

    cacheable = False

    def __init__(self, vectors):
        self.vectors = vectors

    def describe(self):
        return {"method": "numbered"}

    def encode(self, texts, role):
        return self.vectors[[int(text) for text in texts]].copy()

    def truncation(self, texts, role):
        return Truncation()


class Tokens:
    """An encoder of tokens: each text is the position of a given representation."""

    def __init__(self, documents):
        self.documents = documents

    def encode(self, positions, role):
        return take(self.documents, np.array(positions, dtype=np.int64))

    def describe(self):
        return {"encoder": "given"}


def texts(lengths, dim=8, seed=0, unit=False):
    """Return the random token vectors of texts of these lengths; of unit length if `unit`."""
    rng = np.random.default_rng(seed)
    tokens = rng.standard_normal((sum(lengths), dim)).astype(np.float32)
    if unit:
        tokens /= np.linalg.norm(tokens, axis=1, keepdims=True)
    return Ragged(tokens, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))
