"""Parameters shared by all transformer scorers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.profiling.device import opened, resolve
from rankstone.runners.models import LocatedModel
from rankstone.runners.protocols import STRICT, Json, Role, Truncation
from rankstone.runners.transformer.engines.choice import Engines, library_versions
from rankstone.runners.transformer.engines.engine import PRECISIONS, Dtype, Name, Precision
from rankstone.runners.transformer.network import Head, Loaded, Network
from rankstone.runners.transformer.tower import Tower

DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ScorerSettings:
    """Engine, precision and batch size, as for encoders (`TransformerSettings`)."""

    requires: ClassVar[Mapping[str, str]] = {"torch": "dense", "sentence_transformers": "dense"}

    model: LocatedModel
    engine: Name | None = None
    """None: OpenVINO on a CPU if it is installed and supports the model, else torch."""
    precision: Precision = "fp32"
    dtype: Dtype | None = None
    """`precision` under torch's name."""
    device: str | None = None
    """A torch device; None: the best available."""
    batch_size: Annotated[int, Field(ge=1)] = 64
    """Most candidates per batch."""
    batch_tokens: Annotated[int, Field(ge=1)] | None = None
    """Most tokens per batch, padding included; None: depends on the device."""
    trust_remote_code: bool = False
    code: str = ""
    """`OWNER/NAME@COMMIT` of code in another repository that the model's configuration names, as
    for encoders."""

    def __post_init__(self) -> None:
        if self.dtype is not None:
            object.__setattr__(self, "precision", PRECISIONS[self.dtype])

    def _engines(self, head: Head, model: LocatedModel) -> Engines:
        return Engines(
            Network(
                model=model,
                head=head,
                trust_remote_code=self.trust_remote_code,
                code=self.code,
            ),
            engine=self.engine,
            precision=self.precision,
            device=self.device,
        )

    def _tower(
        self, engines: Engines, role: Role, limit: int | None, kind: type[Tower] = Tower
    ) -> Tower:
        return kind(
            network=engines.network,
            role=role,
            engines=engines,
            stated_limit=limit,
            batch_tokens=self.batch_tokens,
            batch_size=self.batch_size,
        )

    def _described(self, engines: Engines) -> dict[str, Json]:
        """Return the entries shared by the descriptions of all transformer scorers."""
        return {**self.model.describe(), **engines.describe()}


@dataclass(frozen=True, kw_only=True, config=STRICT)
class OnTorch:
    """Base of scorers that call a method of the model's own class, in torch."""

    requires: ClassVar[Mapping[str, str]] = {"torch": "dense", "sentence_transformers": "dense"}

    model: LocatedModel
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    device: str | None = None
    """A torch device; None: the best there is."""
    trust_remote_code: bool = False
    code: str = ""
    """`OWNER/NAME@COMMIT` of code in another repository, as for encoders."""

    def _load(self, head: Head) -> Loaded:
        return Network(
            model=self.model,
            head=head,
            trust_remote_code=self.trust_remote_code,
            code=self.code,
        ).load()

    def _placed(self, loaded: Loaded) -> Any:
        """Return the network on the device, in the precision."""
        import torch

        number = getattr(torch, DTYPES[self.precision])
        return loaded.network.to(opened(resolve(self.device)), number)

    def _engine(self, network: Any) -> dict[str, Json]:
        """Return the entries of a description that state what computes."""
        return {
            "precision": self.precision,
            "device": network.device.type,
            "engine": f"torch {version('torch')}",
            "libraries": library_versions(),
        }


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PairScorer(ScorerSettings):
    """Base of scorers that read a query and a candidate in one sequence.

    The tokens of its `_pairs`, a `Tower`, have a method `pairs(query, documents)`.
    """

    max_length: Annotated[int, Field(ge=8)]
    """Tokens per pair."""

    def describe(self) -> Mapping[str, Json]:
        return {**self._described(self._pairs.engines), "max_length": self._pairs.limit}

    def score(self, query: str, documents: Sequence[str]) -> NDArray[np.float32]:
        scores = np.empty(len(documents), dtype=np.float32)
        if len(documents):
            tokenised = self._tokens.pairs(query, documents)
            for rows, batch in self._pairs.batches(tokenised, lambda output, ids, mask: output):
                scores[rows] = batch[:, 0]
        return scores

    def truncation(self, query: str, documents: Sequence[str]) -> Truncation | None:
        counts, kept = self._tokens.pairs(query, documents)[::-1]
        return Truncation.of(counts, np.array([len(ids) for ids in kept], dtype=np.int64))

    @property
    def _tokens(self) -> Any:
        return self._pairs.tokens

    @property
    def _pairs(self) -> Tower:
        raise NotImplementedError
