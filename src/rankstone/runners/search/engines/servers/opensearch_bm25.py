"""BM25 by an OpenSearch or Elasticsearch server."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.runners.protocols import STRICT, Chunks, Context, Defaults, Hits, Json, Role
from rankstone.runners.representations.pieces import SavedTexts
from rankstone.runners.search.engines.engine import ABOUT, by_score, one_by_one
from rankstone.runners.search.engines.servers.opensearch_server import RemoteIndex, http, version
from rankstone.runners.search.exact.flat import padded
from rankstone.specs.values import Variable

TEXT = "text"
BLOCK = 1000
"""Texts per request."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class OpenSearchBM25(Defaults):
    """BM25 by OpenSearch, at the address in `url_env`.

    A query is a bag of words. Only documents with a word of the query are returned. Ties go to the
    lower position; at rank k the server breaks them. Queries are searched one by one.
    """

    SERVER: ClassVar[str] = "opensearch"
    requires: ClassVar[Mapping[str, str]] = {"httpx2": "engines"}

    k1: Annotated[float, Field(ge=0)] = 1.2
    b: Annotated[float, Field(ge=0, le=1)] = 0.75
    analyzer: Literal["english", "standard"] = "english"
    """"english" removes stop words and stems."""
    url_env: Variable = "OPENSEARCH_URL"
    """Name of the environment variable with the server's address."""
    key_env: Variable = ""
    """Name of the environment variable with an API key; empty: none is needed."""
    timeout: Annotated[float, Field(gt=0)] = 60.0
    """Seconds to wait for the response to a query."""

    def describe(self) -> Mapping[str, Json]:
        return {
            "method": f"BM25 ({self.SERVER})", "k1": self.k1, "b": self.b,
            "analyzer": self.analyzer,
            "engine": self.server_version(),
        }  # fmt: skip

    def server_version(self) -> str:
        """Return name and version of the server."""
        return version(self.SERVER, http(self.url_env, self.key_env, self.timeout))

    def encode(self, texts: Sequence[str], role: Role) -> list[str]:
        """Return the texts, which the server analyses, with lone surrogates replaced."""
        return [text.encode(errors="replace").decode() for text in texts]

    def index(self, documents: Chunks[list[str]], context: Context) -> RemoteBM25:
        about = {**asdict(self), "server": self.SERVER, "rows": len(documents)}
        return RemoteBM25(about, documents, context.work)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ElasticsearchBM25(OpenSearchBM25):
    """BM25 by Elasticsearch, at the address in `url_env`; see `OpenSearchBM25`."""

    SERVER: ClassVar[str] = "elasticsearch"

    url_env: Variable = "ELASTICSEARCH_URL"


class RemoteBM25:
    """An index of texts on a server; it is saved as texts, which `load` sends again."""

    def __init__(
        self, about: Mapping[str, Any], texts: Iterable[Sequence[str]], work: Path
    ) -> None:
        self._about, self._texts = about, texts
        self._index = RemoteIndex(about, work)
        similarity = {"default": {"type": "BM25", "k1": about["k1"], "b": about["b"]}}
        mapping = {TEXT: {"type": "text", "analyzer": about["analyzer"]}}
        self._index.create({"similarity": similarity}, mapping)
        position = 0
        for piece in texts:
            for start in range(0, len(piece), BLOCK):
                block = piece[start : start + BLOCK]
                numbers = range(position, position + len(block))
                self._index.add(numbers, ({TEXT: text} for text in block))
                position += len(block)
        self._index.finish(about["rows"])

    def search(self, queries: Sequence[str], k: int) -> Hits:
        def ask(text: str) -> tuple[list[int], list[float]]:
            found = self._index.found({"query": {"match": {TEXT: {"query": text}}}}, k)
            return by_score(*found)

        return padded(*one_by_one(queries, k, ask), k) if k else Hits.empty(len(queries), k)

    def save(self, folder: Path) -> None:
        (folder / ABOUT).write_text(json.dumps(self._about))
        (folder / TEXT).mkdir()
        SavedTexts.write(folder / TEXT, (text for piece in self._texts for text in piece))

    @classmethod
    def load(cls, folder: Path) -> RemoteBM25:
        about = json.loads((folder / ABOUT).read_text())
        return cls(about, [SavedTexts(folder / TEXT)], folder)

    def nbytes(self) -> None:
        """Return None: the server's memory is shared with other indexes."""
        return

    def disk_bytes(self) -> int:
        """Return the bytes on disk reported by the server."""
        return self._index.disk_bytes()
