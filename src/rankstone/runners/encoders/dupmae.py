"""DupMAE: a short dense vector plus the vocabulary entries of highest weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass

from rankstone.runners.encoders.bag_of_tokens import unpadded
from rankstone.runners.protocols import STRICT, Chunks, Context, Hits, Json, Role
from rankstone.runners.saved import SavedIndex
from rankstone.runners.transformer.encoder import Length, TransformerSettings
from rankstone.runners.transformer.network import Head, Loaded, Network
from rankstone.runners.transformer.tokens import Ids

Rows = NDArray[np.float32]
QUERY_BLOCK = 64
"""Queries scored at once: each holds the scores of all documents in memory."""


@plain_dataclass(frozen=True, kw_only=True)
class ShortAndWords(Head):
    """Network whose output is the concatenation of h and mu."""

    projection: str

    def load(self, network: Network) -> Loaded:
        from rankstone.runners.transformer.vocabulary import load_short_and_words

        return load_short_and_words(network, self.projection)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class DupMAE(TransformerSettings):
    """h = W h_cls, and mu = the maximum over tokens of the masked language model's logits.

    A document keeps the `top_k` largest entries of mu, a query keeps all:
    score(q, d) = <h_q, h_d> + sum over the kept i of mu_q[i] mu_d[i]. From Xiao et al., RetroMAE-2,
    ACL 2023, arXiv:2305.02564, section 3.3; the maximum is over all tokens but the first, as in the
    authors' pre-training code.

    A document is a row of (h, the kept values, their vocabulary ids), a query of (h, mu).
    """

    projection: str
    """Module in the model's weights that maps the first token's state to h."""
    top_k: Length = 384

    def describe(self) -> Mapping[str, Json]:
        return {
            **self._describe(),
            "projection": self.projection,
            "top_k": self.top_k,
            "similarity": "dot",
            "index": DupMAEIndex.DESCRIPTION,
        }

    def encode(self, texts: Sequence[str], role: Role) -> Rows:
        """Return (len(texts), dim) rows; `dim` differs between queries and documents."""
        rows = np.empty((len(texts), self._widths[role]), dtype=np.float32)
        finish = lambda states, ids, mask: self._finish(role, states, mask)  # noqa: E731
        for numbers, batch in self._encode(texts, role, finish):
            rows[numbers] = batch
        return rows

    def index(self, documents: Chunks[Rows], context: Context) -> DupMAEIndex:
        return DupMAEIndex.build(documents, self._short, self._vocabulary)

    def _head(self, role: Role) -> ShortAndWords:
        return ShortAndWords(projection=self.projection)

    def _finish(self, role: Role, states: Rows, mask: Ids) -> Rows:
        whole = np.stack([*self._tower(role).engine.decoded(unpadded(states, mask))])
        if role == "query":
            return whole
        short, mu = whole[:, : self._short], whole[:, self._short :]
        kept = np.sort(np.argsort(-mu, axis=1, kind="stable")[:, : self._kept], axis=1)
        return np.hstack([short, np.take_along_axis(mu, kept, axis=1), kept.astype(np.float32)])

    @cached_property
    def _whole(self) -> int:
        """Total dimensions of h and mu."""
        engine = self._tower("document").engine
        one = np.ones((1, 2), dtype=np.int64)
        return len(next(engine.decoded(iter(engine.run(one, one)))))

    @property
    def _vocabulary(self) -> int:
        return self._tower("document").facts.vocabulary

    @property
    def _short(self) -> int:
        return self._whole - self._vocabulary

    @property
    def _kept(self) -> int:
        return min(self.top_k, self._vocabulary)

    @property
    def _widths(self) -> dict[Role, int]:
        return {"query": self._whole, "document": self._short + 2 * self._kept}


@plain_dataclass(frozen=True, eq=False)
class DupMAEIndex(SavedIndex):
    """Brute-force search for the documents of highest score; ties go to the lower position."""

    DESCRIPTION: ClassVar[str] = "exact inner product, dense and sparse"

    short: Rows
    """(n, dim) vectors."""
    words: Any
    """(n, vocabulary) weights, a scipy ``csr_array``."""

    @classmethod
    def build(cls, documents: Chunks[Rows], width: int, vocabulary: int) -> DupMAEIndex:
        from scipy.sparse import csr_array

        rows = [*documents] or [np.empty((0, width), np.float32)]
        short = np.concatenate([piece[:, :width] for piece in rows])
        kept = (rows[0].shape[1] - width) // 2
        values = np.concatenate([piece[:, width : width + kept] for piece in rows])
        ids = np.concatenate([piece[:, width + kept :] for piece in rows]).astype(np.int32)
        ends = np.arange(len(short) + 1) * kept
        shape = (len(short), vocabulary)
        return cls(short, csr_array((values.ravel(), ids.ravel(), ends), shape=shape))

    def search(self, queries: Rows, k: int) -> Hits:
        hits = Hits.empty(len(queries), k)
        depth, width = min(k, len(self.short)), self.short.shape[1]
        for start in range(0, len(queries) if depth else 0, QUERY_BLOCK):
            block = queries[start : start + QUERY_BLOCK]
            found = (self.words @ np.ascontiguousarray(block[:, width:].T)).T
            found = found + block[:, :width] @ self.short.T
            best = np.argsort(-found, axis=1, kind="stable")[:, :depth]
            rows = slice(start, start + len(block))
            hits.docs[rows, :depth] = best
            hits.scores[rows, :depth] = np.take_along_axis(found, best, axis=1)
        return hits
