"""Weights of a text's own tokens from a linear map of their states: BGE-M3's lexical weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass as plain_dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass

from rankstone.runners.encoders.bag_of_tokens import (
    Values,
    VocabularyEncoder,
    special_ids,
    unpadded,
)
from rankstone.runners.protocols import STRICT, Json, Role
from rankstone.runners.representations.sparse_rows import Row
from rankstone.runners.search.exact.inverted_index import InvertedIndex
from rankstone.runners.transformer.network import Head, Loaded, Network
from rankstone.runners.transformer.tokens import Ids
from rankstone.runners.transformer.tower import Finish


@plain_dataclass(frozen=True, kw_only=True)
class Weighed(Head):
    """Network with one weight per token."""

    projection: str

    def load(self, network: Network) -> Loaded:
        from rankstone.runners.transformer.token_vectors import load_weights

        return load_weights(network, self.projection)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TokenWeights(VocabularyEncoder):
    """w_j = max_t relu(a . h_t + b) over the occurrences t of vocabulary entry j in a text.

    Special tokens have weight 0 (Chen et al. 2024, M3-Embedding, arXiv:2402.03216).

    The score is the inner product. Only documents that share a term with the query are returned.
    """

    projection: str
    """Name of the linear map (a, b): weights `NAME.weight` of the model, or a file `NAME.pt` beside
    them."""

    def describe(self) -> Mapping[str, Json]:
        return {
            **self._describe(),
            "activation": "relu",
            "pooling": "max over equal tokens",
            "special_tokens": "drop",
            "index": InvertedIndex.DESCRIPTION,
        }

    def _finisher(self, role: Role) -> Finish:
        tower = self._tower(role)
        dropped = special_ids(tower)

        def finish(output: Values, ids: Ids, mask: Ids) -> list[Row]:
            pairs = zip(unpadded(output[:, :, 0], mask), unpadded(ids, mask), strict=True)
            return [greatest(*pair, dropped) for pair in pairs]

        return finish

    def _width(self, role: Role) -> int:
        return int(self._tower(role).facts.embeddings or 0)

    @property
    def _tokens_alone(self) -> tuple[Role, ...]:
        return ()

    def _head(self, role: Role) -> Weighed:
        return Weighed(projection=self.projection)


def greatest(weights: Values, ids: Ids, dropped: Ids) -> Row:
    """Return the distinct tokens of a text with their greatest weights, where above zero."""
    kept = (weights > 0) & ~np.isin(ids, dropped)
    terms, places = np.unique(ids[kept], return_inverse=True)
    best: NDArray[np.float32] = np.zeros(len(terms), dtype=np.float32)
    np.maximum.at(best, places, weights[kept])
    return terms, best
