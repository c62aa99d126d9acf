"""OpenSearch and Elasticsearch: shared requests, and their dialects."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rankstone.errors import EngineError
from rankstone.runners.search.engines.servers.http import Http
from rankstone.runners.search.engines.servers.removal import removed_at_end
from rankstone.runners.search.engines.servers.server import random_name, refuse_existing

EXAMPLE = "http://localhost:9200"
VECTOR = "vector"
NAMES = {"opensearch": "OpenSearch", "elasticsearch": "Elasticsearch"}


class Dialect(ABC):
    """Request bodies that differ between the two servers."""

    SETTINGS: Mapping[str, Any] = {}

    @abstractmethod
    def mapping(self, about: Mapping[str, Any]) -> dict[str, Any]:
        """Return the mapping of the vector field."""

    @abstractmethod
    def query(self, about: Mapping[str, Any], query: list[float], k: int) -> dict[str, Any]:
        """Return the query for the `k` nearest vectors."""


class OpenSearchDialect(Dialect):
    """The k-NN plugin, with its script for exact search."""

    SETTINGS: Mapping[str, Any] = {"knn": True}

    def mapping(self, about: Mapping[str, Any]) -> dict[str, Any]:
        parameters = {"m": about["m"], "ef_construction": about["ef_construction"]}
        method = {
            "name": "hnsw", "engine": "faiss", "space_type": "innerproduct",
            "parameters": parameters,
        }  # fmt: skip
        return {"type": "knn_vector", "dimension": about["dim"], "method": method}

    def query(self, about: Mapping[str, Any], query: list[float], k: int) -> dict[str, Any]:
        if about["exact"]:
            given = {"field": VECTOR, "query_value": query, "space_type": "innerproduct"}
            script = {"lang": "knn", "source": "knn_score", "params": given}
            return {"query": {"script_score": {"query": {"match_all": {}}, "script": script}}}
        how = {"ef_search": max(about["ef_search"], k)}
        return {"query": {"knn": {VECTOR: {"vector": query, "k": k, "method_parameters": how}}}}


class ElasticsearchDialect(Dialect):
    """Dense vectors in Lucene's HNSW graph, or flat for exact search."""

    def mapping(self, about: Mapping[str, Any]) -> dict[str, Any]:
        graph = {"type": "hnsw", "m": about["m"], "ef_construction": about["ef_construction"]}
        return {
            "type": "dense_vector", "dims": about["dim"], "index": True,
            "similarity": "max_inner_product",
            "index_options": {"type": "flat"} if about["exact"] else graph,
        }  # fmt: skip

    def query(self, about: Mapping[str, Any], query: list[float], k: int) -> dict[str, Any]:
        candidates = k if about["exact"] else max(about["ef_search"], k)
        return {
            "knn": {"field": VECTOR, "query_vector": query, "k": k, "num_candidates": candidates}
        }


DIALECTS: Mapping[str, Dialect] = {
    "opensearch": OpenSearchDialect(),
    "elasticsearch": ElasticsearchDialect(),
}


def http(url_env: str, key_env: str, timeout: float) -> Http:
    """Return a connection to a server."""
    key_header = ("Authorization", "ApiKey ")
    return Http(url_env, EXAMPLE, timeout=timeout, key_env=key_env, key_header=key_header)


def version(server: str, connection: Http) -> str:
    """Return name and version of the server; EngineError if it is the other product."""
    stated = connection.version(dict, NAMES[server])
    found = "opensearch" if stated.get("distribution") == "opensearch" else "elasticsearch"
    if found != server:
        raise EngineError(
            f"{connection.shown} is {NAMES[found]}, not {NAMES[server]}. Name the other adapter."
        )
    return f"{NAMES[server]} {stated['number']}"


class RemoteIndex:
    """An index with one shard, no replicas, and positions as ids."""

    def __init__(self, about: Mapping[str, Any], work: Path) -> None:
        self.http = http(about["url_env"], about["key_env"], about["timeout"])
        self.about, self.name, self._work = about, random_name(), work
        version(about["server"], self.http)

    def create(self, settings: Any, properties: Any) -> None:
        """Create the index, which is removed when the cell ends."""
        existing = self.http.ask("GET", self.name, missing=True)
        refuse_existing(existing, self.name, self.http.shown)
        url_env, key_env = self.about["url_env"], self.about["key_env"]
        removed_at_end(self, self._work, drop, url_env, key_env, self.name)
        own = {"number_of_shards": 1, "number_of_replicas": 0, "refresh_interval": "-1"}
        mappings = {"_source": {"enabled": False}, "dynamic": False, "properties": properties}
        body = {"settings": {"index": {**own, **settings}}, "mappings": mappings}
        self.http.ask("PUT", self.name, body, slow=True)

    def add(self, positions: Iterable[int], documents: Iterable[Mapping[str, Any]]) -> None:
        """Write documents; EngineError with the server's reason if one is rejected."""
        pairs = zip(positions, documents, strict=True)
        lines = [line for n, document in pairs for line in ({"index": {"_id": str(n)}}, document)]
        answer = self.http.ask("POST", f"{self.name}/_bulk", lines=lines, slow=True)
        if answer["errors"]:
            failed = next(i["index"] for i in answer["items"] if "error" in i["index"])
            raise EngineError(
                f"{self.http.shown}/{self.name}: the document at position {failed['_id']} was"
                f" refused: {failed['error'].get('reason', failed['error'])}"
            )

    def finish(self, rows: int) -> None:
        """Merge the index into one segment; EngineError if documents are missing."""
        for step in ("_refresh", "_forcemerge?max_num_segments=1"):
            self.http.ask("POST", f"{self.name}/{step}", slow=True)
        found = self.http.ask("GET", f"{self.name}/_count")["count"]
        if found != rows:
            raise EngineError(
                f"{self.http.shown}/{self.name}: {found} of {rows} documents arrived."
            )

    def found(self, body: dict[str, Any], k: int) -> tuple[list[int], list[float]]:
        """Return positions and scores, best first; EngineError if a shard failed."""
        request = {**body, "size": k, "_source": False, "track_total_hits": False}
        answer = self.http.ask("POST", f"{self.name}/_search", request)
        if answer["timed_out"] or answer["_shards"]["failed"]:
            raise EngineError(f"{self.http.shown}/{self.name}: only a part of it was searched.")
        hits = answer["hits"]["hits"]
        return [int(hit["_id"]) for hit in hits], [hit["_score"] for hit in hits]

    def disk_bytes(self) -> int:
        stated = self.http.ask("GET", f"{self.name}/_stats/store")
        return int(stated["_all"]["primaries"]["store"]["size_in_bytes"])


def drop(url_env: str, key_env: str, name: str) -> None:
    """Remove an index."""
    http(url_env, key_env, 60.0).ask("DELETE", name, missing=True)
