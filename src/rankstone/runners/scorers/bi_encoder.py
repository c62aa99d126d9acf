"""Re-scoring with a dual encoder, candidates encoded on the fly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.errors import DefinitionError
from rankstone.runners.protocols import STRICT, Json, Truncation


@dataclass(frozen=True, kw_only=True, config=STRICT)
class BiEncoderScorer:
    """Similarity of a dense runner's vectors of the query and the candidates."""

    requires: ClassVar[Mapping[str, str]] = {}

    members: Annotated[tuple[Any, ...], Field(min_length=1, max_length=1)]
    """The dense runner."""
    similarity: Literal["cosine", "dot"] | None = None
    """None: the runner's own."""

    def describe(self) -> Mapping[str, Json]:
        return {
            "scorer": "bi-encoder",
            "similarity": self._similarity,
            "encoder": self._encoder.describe(),
        }

    def score(self, query: str, documents: Sequence[str]) -> NDArray[np.float32]:
        if not len(documents):
            return np.zeros(0, dtype=np.float32)
        of_query = self._scaled(self._encoder.encode([query], "query"))
        of_documents = self._scaled(self._encoder.encode(documents, "document"))
        scores: NDArray[np.float32] = of_documents @ of_query[0]
        return scores

    def truncation(self, query: str, documents: Sequence[str]) -> Truncation | None:
        of_query = self._encoder.truncation([query], "query")
        of_documents = self._encoder.truncation(documents, "document")
        if of_query is None or of_documents is None:
            return None
        n = len(documents)
        return Truncation(
            texts=n,
            texts_cut=n if of_query.texts_cut else of_documents.texts_cut,
            tokens=of_documents.tokens + n * of_query.tokens,
            tokens_cut=of_documents.tokens_cut + n * of_query.tokens_cut,
        )

    @property
    def _encoder(self) -> Any:
        return self.members[0]

    @cached_property
    def _similarity(self) -> str:
        found = self.similarity or self._encoder.describe().get("similarity")
        if found not in ("cosine", "dot"):
            raise DefinitionError(
                f"key 'scorer.parameters.similarity': the member's own is {found!r}, and"
                ' vectors are compared by "cosine" or "dot". State one, or name a dense member.'
            )
        return str(found)

    def _scaled(self, vectors: NDArray[np.float32]) -> NDArray[Any]:
        """Return vectors of unit length; zero vectors are unchanged."""
        if self._similarity == "dot":
            return vectors
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / np.where(lengths == 0, np.float32(1), lengths)
