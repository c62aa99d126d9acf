"""Vector search by an OpenSearch or Elasticsearch server."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from numpy.typing import ArrayLike
from pydantic.dataclasses import dataclass

from rankstone.runners.protocols import STRICT, Chunks, Context
from rankstone.runners.search.engines.engine import numbered
from rankstone.runners.search.engines.servers.opensearch_server import (
    DIALECTS,
    VECTOR,
    RemoteIndex,
    http,
    version,
)
from rankstone.runners.search.engines.servers.server import Collection, OverServer, as_list
from rankstone.runners.search.exact.flat import Vectors
from rankstone.specs.values import Variable

BLOCK = 500
"""Vectors per request."""


class RemoteVectors(Collection):
    """An index of vectors on a server."""

    def open(self, work: Path) -> None:
        about = self.about
        self._dialect = DIALECTS[about["server"]]
        self._index = RemoteIndex(about, work)
        self._index.create(self._dialect.SETTINGS, {VECTOR: self._dialect.mapping(about)})
        for positions, block in numbered(self.vectors, BLOCK):
            documents = ({VECTOR: as_list(row)} for row in block)
            self._index.add(positions.tolist(), documents)
        self._index.finish(about["rows"])

    def ask(self, query: Vectors, k: int) -> tuple[ArrayLike, ArrayLike]:
        body = self._dialect.query(self.about, as_list(query), k)
        positions, scores = self._index.found(body, k)
        return positions, [inner_product(score) for score in scores]

    def disk_bytes(self) -> int:
        return self._index.disk_bytes()


def inner_product(score: float) -> float:
    """Return the inner product p of a score, which both servers make positive: p + 1 or 1 / (1 -
    p)."""
    return score - 1 if score >= 1 else 1 - 1 / score


@dataclass(frozen=True, kw_only=True, config=STRICT)
class OpenSearch(OverServer):
    """HNSW graph of float32 vectors by faiss in OpenSearch, at the address in `url_env`.

    Ties: see `EngineIndex`.
    """

    DESCRIPTION: ClassVar[str] = "HNSW graph, inner product, OpenSearch"
    SERVER: ClassVar[str] = "opensearch"
    COLLECTION: ClassVar[type[Collection]] = RemoteVectors
    requires: ClassVar[Mapping[str, str]] = {"httpx2": "engines"}

    url_env: Variable = "OPENSEARCH_URL"
    key_env: Variable = ""
    """Name of the environment variable with an API key; empty: none is needed."""

    def version(self) -> str:
        return version(self.SERVER, http(self.url_env, self.key_env, self.timeout))

    def about(self, documents: Chunks[Any], context: Context) -> dict[str, Any]:
        return {**super().about(documents, context), "server": self.SERVER}


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Elasticsearch(OpenSearch):
    """HNSW graph of float32 vectors by Lucene in Elasticsearch, at the address in `url_env`.

    Ties: see `EngineIndex`.
    """

    DESCRIPTION: ClassVar[str] = "HNSW graph, inner product, Elasticsearch"
    SERVER: ClassVar[str] = "elasticsearch"

    url_env: Variable = "ELASTICSEARCH_URL"
