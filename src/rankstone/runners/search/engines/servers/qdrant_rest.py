"""A Qdrant server by its address."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from rankstone.errors import EngineError
from rankstone.runners.search.engines.engine import numbered
from rankstone.runners.search.engines.servers.http import Http
from rankstone.runners.search.engines.servers.removal import removed_at_end
from rankstone.runners.search.engines.servers.server import (
    Collection,
    as_list,
    refuse_existing,
)
from rankstone.runners.search.exact.flat import Vectors

EXAMPLE = "http://localhost:6333"
BLOCK = 512
"""Points per request, which is limited to 32 MB."""
POLL_S = 0.2
THRESHOLD_KB = 10
"""Segment size from which Qdrant builds and searches a graph: the smallest that it allows."""


def http(about: Mapping[str, Any]) -> Http:
    """Return a connection to the server of a method or index."""
    return Http(
        about["url_env"], EXAMPLE, timeout=about["timeout"], key_env=about["key_env"],
        key_header=("api-key", ""),
    )  # fmt: skip


def version(about: Mapping[str, Any]) -> str:
    """Return the version reported by the server."""
    return f"Qdrant {http(about).version(str, 'Qdrant')}"


class QdrantCollection(Collection):
    """A collection on a server, with positions as ids."""

    def open(self, work: Path) -> None:
        about = self.about
        self._http, self._path = http(about), f"collections/{self.name}"
        existing = self._http.ask("GET", self._path, missing=True)
        refuse_existing(existing, self.name, self._http.shown)
        removed_at_end(self, work, drop, about["url_env"], about["key_env"], self.name)
        self._http.ask("PUT", self._path, self._config(), slow=True)
        for positions, block in numbered(self.vectors, BLOCK):
            batch = {"ids": positions.tolist(), "vectors": block.astype(float).tolist()}
            points = f"{self._path}/points?wait=true"
            self._http.ask("PUT", points, {"batch": batch}, slow=True)
        self._wait()

    def _config(self) -> dict[str, Any]:
        about = self.about
        return {
            "vectors": {"size": about["dim"], "distance": "Dot"},
            "hnsw_config": {
                "m": about["m"], "ef_construct": about["ef_construction"],
                "full_scan_threshold": THRESHOLD_KB, "max_indexing_threads": 1,
            },
            "optimizers_config": {
                "default_segment_number": 1,
                "indexing_threshold": 0 if about["exact"] else THRESHOLD_KB,
            },
        }  # fmt: skip

    def _wait(self) -> None:
        """Wait until the server has nothing left to optimise."""
        while (state := self._http.ask("GET", self._path)["result"])["status"] != "green":
            if state["status"] == "red":
                raise EngineError(
                    f"{self._http.shown}/{self._path}: {state.get('optimizer_status')}"
                )
            time.sleep(POLL_S)

    def ask(self, query: Vectors, k: int) -> tuple[ArrayLike, ArrayLike]:
        about = self.about
        how = {"hnsw_ef": max(about["ef_search"], k), "exact": about["exact"]}
        body = {"query": as_list(query), "limit": k, "params": how}
        points = self._http.ask("POST", f"{self._path}/points/query", body)["result"]["points"]
        return [point["id"] for point in points], [point["score"] for point in points]


def drop(url_env: str, key_env: str, name: str) -> None:
    """Remove a collection."""
    about = {"url_env": url_env, "key_env": key_env, "timeout": 60.0}
    http(about).ask("DELETE", f"collections/{name}", missing=True)
