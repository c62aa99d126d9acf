"""Cross-encoders: query and document in one sequence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass as plain_dataclass
from functools import cached_property
from typing import Annotated, cast

from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.runners.protocols import STRICT, Json
from rankstone.runners.scorers.settings import PairScorer
from rankstone.runners.transformer.network import Head, Loaded, Network
from rankstone.runners.transformer.tokens import ChatPairs, PairTokens
from rankstone.runners.transformer.tower import Tower


@plain_dataclass(frozen=True, kw_only=True)
class Classifier(Head):
    """Network that maps a pair to one score."""

    instruction: str | None = None

    def load(self, network: Network) -> Loaded:
        from rankstone.runners.transformer.pairs import load

        return load(network, self.instruction)


class PairTower(Tower):
    """Tower of pairs of texts, each in one sequence."""

    @cached_property
    def tokens(self) -> PairTokens | ChatPairs:
        facts = self.facts
        if facts.library_tokens:
            assert self.limit is not None
            stated = facts.prompts.get("instruction")
            return ChatPairs(self.tokenizer, pad=facts.pad, limit=self.limit, instruction=stated)
        return PairTokens(
            self.tokenizer,
            pad=facts.pad,
            limit=self.limit,
            truncation_side=facts.truncation_side,
            embeddings=facts.embeddings,
        )


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CrossEncoderScorer(PairScorer):
    """Logit of a single-label sequence classifier over `[CLS] query [SEP] document [SEP]`.

    Equal to ``CrossEncoder.predict`` of sentence-transformers up to rounding, with the model's own
    activation, except that a sigmoid is left out: it would not change the ranking but tie saturated
    scores. A pair that is too long loses tokens of its longer text first. A model with a chat
    template for pairs (a causal one, of sentence-transformers 5.4 or later) uses the template, and
    the end of the document is truncated.
    """

    max_length: Annotated[int, Field(ge=8)] = 512
    """Tokens per pair, special tokens included; at most the model's own limit."""
    instruction: str | None = None
    """Task description, if the model's chat template takes one; None: the model's own."""

    def describe(self) -> Mapping[str, Json]:
        facts = self._pairs.facts
        return {
            **super().describe(),
            "scorer": "cross-encoder",
            "truncation": "end" if facts.library_tokens else "longest first",
            "modules": cast("Json", facts.modules),
            **({"instruction": facts.prompts["instruction"]} if facts.prompts else {}),
        }

    @cached_property
    def _pairs(self) -> Tower:
        engines = self._engines(Classifier(instruction=self.instruction), self.model)
        limit = min(self.max_length, engines.facts.limit or self.max_length)
        return self._tower(engines, "document", limit, PairTower)
