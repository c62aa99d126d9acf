"""Poly-Encoders: each candidate's vector attends to a few vectors of the query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from dataclasses import replace
from functools import cached_property
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.runners.protocols import STRICT, Json, Truncation
from rankstone.runners.scorers.apart import check_positions, extra_tensors, truncated_apart
from rankstone.runners.scorers.settings import ScorerSettings
from rankstone.runners.transformer.engines.choice import Engines
from rankstone.runners.transformer.network import Array, Head, Loaded, Network
from rankstone.runners.transformer.tower import Tower


@plain_dataclass(frozen=True, kw_only=True)
class HiddenStates(Head):
    """Network whose output is its last hidden states."""

    def load(self, network: Network) -> Loaded:
        from rankstone.runners.transformer.vectors import load_states

        return load_states(network)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PolyEncoderScorer(ScorerSettings):
    """m learned codes attend to the query; the candidate's vector attends to the result.

    With H (L, d) the query's token outputs, C (m, d) the codes and r (d,) the candidate's [CLS]
    output: Y = softmax(C H^T) H, and score = (softmax(r Y^T) Y) . r, without scaling.
    Humeau, Shuster, Lachaux, Weston: Poly-encoders, ICLR 2020, section 4.4.

    The model's folder holds a BERT-like backbone as transformers saves it (``config.json``,
    ``model.safetensors``, tokenizer) and beside it ``scorer.safetensors`` with the tensor ``codes``
    (m, d).
    """

    candidates: str | None = None
    """Subfolder of the candidates' own backbone; None: query and candidates share one."""
    query_length: Annotated[int, Field(ge=3)] = 256
    """Tokens per query, special tokens included."""
    document_length: Annotated[int, Field(ge=3)] = 256
    """Tokens per candidate, special tokens included."""

    def describe(self) -> Mapping[str, Json]:
        return {
            "scorer": "poly-encoder",
            **self._described(self._own),
            "codes": len(self._codes),
            "candidates": self.candidates,
            "query_length": self.query_length,
            "document_length": self.document_length,
        }

    def score(self, query: str, documents: Sequence[str]) -> NDArray[np.float32]:
        scores = np.empty(len(documents), dtype=np.float32)
        if len(documents):
            vectors = self._query_vectors(query)
            tower = self._documents
            first = lambda output, ids, mask: output[:, 0]  # noqa: E731
            for rows, batch in tower.batches(tower.tokens.encode(documents), first):
                scores[rows] = attend(batch, vectors)
        return scores

    def truncation(self, query: str, documents: Sequence[str]) -> Truncation | None:
        return truncated_apart(self._queries.tokens, self._documents.tokens, query, documents)

    def _query_vectors(self, query: str) -> Array:
        """Return the (m, d) vectors of the query."""
        tower = self._queries
        [(_, states)] = tower.batches(tower.tokens.encode([query]), lambda output, *_: output[0])
        vectors: Array = softmax(self._codes @ states.T) @ states
        return vectors

    @cached_property
    def _queries(self) -> Tower:
        check_positions(self.model, self._own.facts, self.query_length)
        return self._tower(self._own, "query", self.query_length)

    @cached_property
    def _documents(self) -> Tower:
        engines = self._own
        if self.candidates is not None:
            start = f"{self.candidates}/"
            files = {n.removeprefix(start): d for n, d in self.model.files.items() if start in n}
            folder = self.model.folder / self.candidates
            engines = self._engines(HiddenStates(), replace(self.model, folder=folder, files=files))
        check_positions(self.model, engines.facts, self.document_length)
        return self._tower(engines, "document", self.document_length)

    @cached_property
    def _own(self) -> Engines:
        return self._engines(HiddenStates(), self.model)

    @cached_property
    def _codes(self) -> Array:
        return extra_tensors(self.model, "codes")["codes"]


def attend(candidates: Array, vectors: Array) -> Array:
    """Return the (n,) scores of candidates (n, d) that attend to the query's vectors (m, d)."""
    found = softmax(candidates @ vectors.T) @ vectors
    scores: Array = (found * candidates).sum(axis=1)
    return scores


def softmax(logits: Array) -> Array:
    """Return the softmax over the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    weights: Array = powers / powers.sum(axis=-1, keepdims=True)
    return weights
