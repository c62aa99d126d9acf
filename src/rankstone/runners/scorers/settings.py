"""Parameters of every scorer that is a transformer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.runners.models import LocatedModel
from rankstone.runners.protocols import STRICT, Json, Role
from rankstone.runners.transformer.engines.choice import Engines
from rankstone.runners.transformer.engines.engine import PRECISIONS, Dtype, Name, Precision
from rankstone.runners.transformer.network import Head, Network
from rankstone.runners.transformer.tower import Tower


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ScorerSettings:
    """Engine, precision and batches, as for encoders (`TransformerSettings`)."""

    requires: ClassVar[Mapping[str, str]] = {"torch": "dense", "sentence_transformers": "dense"}

    model: LocatedModel
    engine: Name | None = None
    """None: OpenVINO on a CPU where it is installed and able, torch elsewhere."""
    precision: Precision = "fp32"
    dtype: Dtype | None = None
    """`precision` in the words of torch."""
    device: str | None = None
    """A torch device; None: the best there is."""
    batch_size: Annotated[int, Field(ge=1)] = 64
    """Limit of candidates that are read together ..."""
    batch_tokens: Annotated[int, Field(ge=1)] | None = None
    """... and of their tokens, padding included; None: as suits the device."""
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        if self.dtype is not None:
            object.__setattr__(self, "precision", PRECISIONS[self.dtype])

    def _engines(self, head: Head, model: LocatedModel) -> Engines:
        return Engines(
            Network(model=model, head=head, trust_remote_code=self.trust_remote_code),
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
            device=self.device,
        )

    def _described(self, engines: Engines) -> dict[str, Json]:
        """Return the entries that the descriptions of all scorers share."""
        return {**self.model.describe(), **engines.describe()}
