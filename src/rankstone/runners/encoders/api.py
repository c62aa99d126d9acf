"""Embeddings from a server with OpenAI's API, such as vLLM, Ollama or TEI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.errors import ApiError
from rankstone.runners.api.answers import Answer, read_embeddings
from rankstone.runners.api.lengths import Positive
from rankstone.runners.api.settings import ONE, ApiSettings, Request
from rankstone.runners.protocols import STRICT, Chunks, Context, Json, Role, Truncation
from rankstone.runners.search.exact.flat import ExactIndex
from rankstone.runners.search.exact.gpu import GpuIndex, exact

Vectors = NDArray[np.float32]
PATH = "embeddings"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ApiEncoder(ApiSettings):
    """Vectors from `POST {base_url}/embeddings`, of unit length for cosine, with exact search.

    Vectors are accepted only if their number, order (`index`) and dimension are as expected, and
    all values are finite. An empty text, which many servers refuse, is not sent: its vector is
    zero.
    """

    cacheable: ClassVar[bool] = True

    dimensions: Positive | None = None
    """Dimensions to request (Matryoshka); None: the model's own."""
    prompts: Mapping[Role, str] = Field(default_factory=dict)
    """Text to prepend to a query or a document."""
    fields: Mapping[Role, dict[str, Any]] = Field(default_factory=dict)
    """Further fields of a request by role, such as `input_type` or `task`; not an API key."""
    similarity: Literal["cosine", "dot"] = "cosine"

    def describe(self) -> Mapping[str, Json]:
        """Return the parameters and the model's properties, for which the server is asked."""
        return {
            **self.identity(),
            "api": "OpenAI embeddings",
            "dimensions": self.dimensions,
            "dimension": self._dim,
            "prompts": {role: self.prompts.get(role, "") for role in ("query", "document")},
            "fields": {role: self.fields.get(role, {}) for role in ("query", "document")},
            "normalized": self.similarity == "cosine",
            "similarity": self.similarity,
            "empty_texts": "zero vector",
            "index": ExactIndex.DESCRIPTION,
        }

    def encode(self, texts: Sequence[str], role: Role) -> Vectors:
        """(len(texts), dim) vectors."""
        read = self.cut(self._prompted(texts, role))
        vectors = np.zeros((len(read), self._dim), dtype=np.float32)
        rows = [row for row, text in enumerate(read) if text.strip()]
        sent = [read[row] for row in rows]
        runs = self.batched(sent)
        requests = [self._request(sent[run], role) for run in runs]
        for run, answer in zip(runs, self.answers(PATH, requests, read_embeddings), strict=True):
            vectors[rows[run]] = self._checked(answer.values)
            self.reported(answer)
        return self._scaled(vectors)

    def index(self, documents: Chunks[Vectors], context: Context) -> ExactIndex | GpuIndex:
        return exact(documents, context.device)

    def truncation(self, texts: Sequence[str], role: Role) -> Truncation | None:
        """Count what `max_length` or `max_characters` truncates; None without either."""
        return self.left_out(self._prompted(texts, role))

    def probe(self) -> Answer:
        return next(self.answers(PATH, [self._request(ONE, "document")], read_embeddings))

    @property
    def _dim(self) -> int:
        return int(self._probed.values.shape[1])

    def _prompted(self, texts: Sequence[str], role: Role) -> list[str]:
        prompt = self.prompts.get(role, "")
        return [prompt + text for text in texts]

    def _request(self, texts: Sequence[str], role: Role) -> Request:
        asked = {} if self.dimensions is None else {"dimensions": self.dimensions}
        body = {"input": list(texts), **asked, **self.fields.get(role, {})}
        return Request(body, texts, len(texts))

    def _checked(self, vectors: Vectors) -> Vectors:
        if vectors.shape[1] != self._dim:
            raise ApiError(
                f"{self.base_url}/{PATH}: the dimension changed from {self._dim} to"
                f" {vectors.shape[1]} between two requests. The server is at fault."
            )
        return vectors

    def _scaled(self, vectors: Vectors) -> Vectors:
        if self.similarity == "cosine":
            norms = np.linalg.norm(vectors, axis=1, keepdims=True)
            vectors /= np.where(norms > 0, norms, 1)
        return vectors
