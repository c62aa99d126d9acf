"""Scores from a reranking server with the API of Cohere (also Jina, Voyage, vLLM) or of TEI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.runners.api.answers import Answer, read_scores
from rankstone.runners.api.settings import ONE, ApiSettings, Request
from rankstone.runners.protocols import STRICT, Json, Truncation

PATH = "rerank"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ApiScorer(ApiSettings):
    """Scores from `POST {base_url}/rerank`, one per candidate.

    Length limits apply to the query and to each candidate. If a model's scores depend on the other
    candidates, all must be in one request: set `batch_texts` to at least the depth.
    """

    style: Literal["cohere", "tei"] = "cohere"
    """cohere: `documents` and `relevance_score`, also of Jina, Voyage and vLLM; tei: `texts` and
    `score` of Text Embeddings Inference."""
    fields: dict[str, Any] = Field(default_factory=dict)
    """Further fields of a request, such as `truncate`; not an API key."""

    def describe(self) -> Mapping[str, Json]:
        """Return the parameters and the model's properties, for which the server is asked."""
        return {
            "scorer": "reranking API",
            **self.identity(),
            "api": self.style,
            "fields": self.fields,
        }

    def score(self, query: str, documents: Sequence[str]) -> NDArray[np.float32]:
        """Return (len(documents),) scores, in the order of `documents`."""
        (asked,), read = self.cut([query]), self.cut(documents)
        runs = self.batched(read, beside=self.sizes([asked])[0])
        requests = [self._request(asked, read[run]) for run in runs]
        scores = np.empty(len(read), dtype=np.float32)
        for run, answer in zip(runs, self.answers(PATH, requests, read_scores), strict=True):
            scores[run] = answer.values
            self.reported(answer)
        return scores

    def truncation(self, query: str, documents: Sequence[str]) -> Truncation | None:
        """Count what the limits truncate of the pairs; None without a limit."""
        of_query, of_documents = self.left_out([query]), self.left_out(documents)
        if of_query is None or of_documents is None:
            return None
        n = len(documents)
        return Truncation(
            n,
            n if of_query.texts_cut else of_documents.texts_cut,
            n * of_query.tokens + of_documents.tokens,
            n * of_query.tokens_cut + of_documents.tokens_cut,
        )

    def probe(self) -> Answer:
        return next(self.answers(PATH, [self._request(ONE[0], ONE)], read_scores))

    def _request(self, query: str, documents: Sequence[str]) -> Request:
        key = "texts" if self.style == "tei" else "documents"
        body = {"query": query, key: list(documents), **self.fields}
        return Request(body, [query + document for document in documents], len(documents))
