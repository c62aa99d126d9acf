"""Rerankers with code of their own, such as jina-reranker-v3."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from functools import cached_property
from inspect import signature
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.errors import AdapterError, DefinitionError, did_you_mean
from rankstone.profiling.device import memory_errors
from rankstone.runners.meter import Work, report
from rankstone.runners.protocols import STRICT, Json, Truncation
from rankstone.runners.scorers.settings import OnTorch
from rankstone.runners.transformer.network import Head, Loaded, Network


@plain_dataclass(frozen=True, kw_only=True)
class OwnCode(Head):
    """Network whose code scores candidates by a method `rerank`."""

    def load(self, network: Network) -> Loaded:
        from rankstone.runners.transformer.pairs import load_own

        return load_own(network)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class OwnReranker(OnTorch):
    """`rerank(query, documents)` of the model's class, which is defined in its repository.

    It returns `index` and `relevance_score` of each document. Truncation and the number of tokens
    are unknown. A score may depend on the other candidates.
    """

    arguments: dict[str, Any] = Field(default_factory=dict)
    """Further arguments of `rerank`, such as `max_doc_length`."""

    def describe(self) -> Mapping[str, Json]:
        return {
            "scorer": "code of the model",
            **self.model.describe(),
            "arguments": self.arguments,
            **self._engine(self._network),
        }

    def score(self, query: str, documents: Sequence[str]) -> NDArray[np.float32]:
        import torch

        scores = np.full(len(documents), np.nan, dtype=np.float32)
        if len(documents):
            with torch.inference_mode(), memory_errors("Lower the depth (--depth)."):
                found = self._network.rerank(query, list(documents), **self.arguments)
            for one in found:
                scores[int(one["index"])] = float(one["relevance_score"])
            report(Work(texts=len(documents)))
        if np.isnan(scores).any():
            raise AdapterError(
                f"Model '{self.model.id}': its code scored {len(found)} of {len(documents)}"
                " documents. Correct scorer.parameters.arguments."
            )
        return scores

    def truncation(self, query: str, documents: Sequence[str]) -> Truncation | None:
        return None

    @cached_property
    def _network(self) -> Any:
        made = self._placed(self._load(OwnCode()))
        known = signature(made.rerank).parameters
        for name in self.arguments:
            if name not in known:
                raise DefinitionError(
                    f"key 'scorer.parameters.arguments.{name}': 'rerank' of '{self.model.id}' has"
                    f" no such argument.{did_you_mean(name, known)} Known: {', '.join(known)}."
                )
        return made
