"""Cross-encoders: query and document read together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from functools import cached_property
from typing import Annotated, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.runners.protocols import STRICT, Json, Truncation
from rankstone.runners.scorers.settings import ScorerSettings
from rankstone.runners.transformer.network import Head, Loaded, Network
from rankstone.runners.transformer.tokens import PairTokens
from rankstone.runners.transformer.tower import Tower


@plain_dataclass(frozen=True, kw_only=True)
class Classifier(Head):
    """The kind of a network that reads a pair and gives one number."""

    def load(self, network: Network) -> Loaded:
        from rankstone.runners.transformer.pairs import load

        return load(network)


class PairTower(Tower):
    """Pairs of texts, each in one sequence."""

    @cached_property
    def tokens(self) -> PairTokens:
        facts = self.facts
        return PairTokens(
            self.tokenizer,
            pad=facts.pad,
            limit=self.limit,
            truncation_side=facts.truncation_side,
            embeddings=facts.embeddings,
        )


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CrossEncoderScorer(ScorerSettings):
    """The single logit of a sequence classifier over `[CLS] query [SEP] document [SEP]`.

    Equal to ``CrossEncoder.predict`` of sentence-transformers up to the last bits, with the model's
    own activation, but for a sigmoid: that would not move a rank, but tie what it saturates. A pair
    that is too long loses tokens of its longer text first.
    """

    max_length: Annotated[int, Field(ge=8)] = 512
    """Tokens per pair, special tokens included; never more than the model's own limit."""

    def describe(self) -> Mapping[str, Json]:
        return {
            "scorer": "cross-encoder",
            **self._described(self._pairs.engines),
            "max_length": self._pairs.limit,
            "truncation": "longest first",
            "modules": cast("Json", self._pairs.facts.modules),
        }

    def score(self, query: str, documents: Sequence[str]) -> NDArray[np.float32]:
        scores = np.empty(len(documents), dtype=np.float32)
        if len(documents):
            tokenised = self._tokens.pairs(query, documents)
            for rows, batch in self._pairs.batches(tokenised, lambda output, ids, mask: output):
                scores[rows] = batch[:, 0]
        return scores

    def truncation(self, query: str, documents: Sequence[str]) -> Truncation | None:
        limit = self._pairs.limit
        assert limit is not None
        return Truncation.of(self._tokens.pairs(query, documents).counts, limit)

    @property
    def _tokens(self) -> PairTokens:
        return cast("PairTokens", self._pairs.tokens)

    @cached_property
    def _pairs(self) -> Tower:
        engines = self._engines(Classifier(), self.model)
        limit = min(self.max_length, engines.facts.limit or self.max_length)
        return self._tower(engines, "document", limit, PairTower)
