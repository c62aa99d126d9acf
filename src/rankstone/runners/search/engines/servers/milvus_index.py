"""Milvus: a server by its address, or Milvus Lite in its own process."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

from numpy.typing import ArrayLike
from pydantic.dataclasses import dataclass

from rankstone.errors import EngineError, UnreachableError
from rankstone.runners.protocols import STRICT
from rankstone.runners.search.engines.engine import numbered
from rankstone.runners.search.engines.folder import fresh, size
from rankstone.runners.search.engines.servers.own_process import OwnProcess
from rankstone.runners.search.engines.servers.removal import at_end, removed_at_end
from rankstone.runners.search.engines.servers.server import (
    ChangingCollection,
    ChangingServerIndex,
    GraphOrLists,
    refuse_existing,
    url_of,
)
from rankstone.runners.search.exact.flat import Vectors
from rankstone.runners.search.faiss.faiss_index import Positions
from rankstone.runners.search.faiss.inverted_lists import n_lists_for

EXAMPLE = "http://localhost:19530"
BLOCK = 4096
"""Vectors per request."""
VECTOR, POSITION = "vector", "position"
CONNECT_S = 10.0


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Milvus(GraphOrLists):
    """Float32 vectors in a Milvus collection.

    Without `url_env`, Milvus Lite runs on this machine; it is written in Python with faiss and
    shares no code with the Milvus server. Ties: see `EngineIndex`.
    """

    DESCRIPTION: ClassVar[str] = "collection of vectors, inner product, Milvus"
    requires: ClassVar[Mapping[str, str]] = {"pymilvus": "engines"}

    def version(self) -> str:
        if not self.url_env:
            return f"Milvus Lite {version('milvus-lite')}, faiss {version('faiss-cpu')}"
        with connected(self.url_env) as client:
            return f"Milvus {client.get_server_version()}"


class MilvusCollection(ChangingCollection):
    """A Milvus collection whose primary keys are positions."""

    def open(self, work: Path) -> None:
        about = self.about
        self._own: OwnProcess | None = None
        self._folder = work
        if about["url_env"]:
            url = url_of(about["url_env"], EXAMPLE).geturl()
        else:
            self._folder = fresh(work, "milvus")
            self._own = OwnProcess(self._folder, _command)
            url = f"http://127.0.0.1:{self._own.port}"
        with self._explained():
            self._client = _client(url)
            at_end(self, self._client.close)
            if not self._own:
                refuse_existing(self._client.has_collection(self.name), self.name, "Milvus")
                removed_at_end(self, work, drop, about["url_env"], self.name)
            self._fill()

    def _fill(self) -> None:
        from pymilvus import DataType

        client, about = self._client, self.about
        schema = client.create_schema(auto_id=False)
        schema.add_field(POSITION, DataType.INT64, is_primary=True)
        schema.add_field(VECTOR, DataType.FLOAT_VECTOR, dim=about["dim"])
        client.create_collection(self.name, schema=schema)
        for positions, block in numbered(self.vectors, BLOCK):
            self._insert(positions, block)
        client.flush(self.name)
        index = client.prepare_index_params()
        kind, parameters = self._method()
        # Nested, because Milvus Lite would ignore the flat form that the client makes of a dict.
        nested = {"params": parameters}
        index.add_index(VECTOR, index_type=kind, metric_type="IP", params=nested)
        client.create_index(self.name, index)
        client.load_collection(self.name)

    def _insert(self, keys: Positions, vectors: Vectors) -> None:
        rows = zip(keys.tolist(), vectors, strict=True)
        self._client.insert(self.name, [{POSITION: key, VECTOR: row} for key, row in rows])

    def add(self, keys: Positions, vectors: Vectors) -> None:
        with self._explained():
            self._insert(keys, vectors)

    def remove(self, keys: Positions) -> None:
        with self._explained():
            self._client.delete(self.name, ids=keys.tolist())

    def _method(self) -> tuple[str, dict[str, Any]]:
        about = self.about
        if about["exact"]:
            return "FLAT", {}
        if about["kind"] == "ivfflat":
            return "IVF_FLAT", {"nlist": n_lists_for(about["n_lists"], about["rows"])}
        return "HNSW", {"M": about["m"], "efConstruction": about["ef_construction"]}

    def ask(self, query: Vectors, k: int) -> tuple[ArrayLike, ArrayLike]:
        about = self.about
        parameters = {"ef": max(about["ef_search"], k), "nprobe": about["n_probe"]}
        with self._explained():
            (found,) = self._client.search(
                self.name, [query], anns_field=VECTOR, limit=k, consistency_level="Strong",
                search_params={"metric_type": "IP", "params": parameters},
                timeout=about["timeout"],
            )  # fmt: skip
        return [hit[POSITION] for hit in found], [hit["distance"] for hit in found]

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Add the state of a locally started server to errors."""
        try:
            with explained():
                yield
        except EngineError as error:
            state = f" {self._own.last_words()}" if self._own else ""
            raise EngineError(f"{error}{state}") from None

    def disk_bytes(self) -> int | None:
        return size(self._folder) if self._own else None

    def memory_bytes(self) -> int | None:
        return self._own.memory_bytes() if self._own else None


class MilvusIndex(ChangingServerIndex):
    """A Milvus collection."""

    INNER_PRODUCTS: ClassVar[bool] = True

    engine: MilvusCollection


Milvus.COLLECTION, Milvus.INDEX = MilvusCollection, MilvusIndex


def drop(url_env: str, name: str) -> None:
    """Remove a collection."""
    with connected(url_env) as client:
        client.drop_collection(name)


@contextmanager
def connected(url_env: str) -> Iterator[Any]:
    """Yield a client; its errors become EngineErrors, UnreachableError without a connection."""
    url, where = url_of(url_env, EXAMPLE).geturl(), f" (address in {url_env})"
    with explained(where, UnreachableError):
        client = _client(url)
    with explained(where):
        try:
            yield client
        finally:
            client.close()


@contextmanager
def explained(where: str = "", kind: type[EngineError] = EngineError) -> Iterator[None]:
    """Convert the client's errors to EngineErrors, or to `kind`."""
    from grpc import RpcError
    from pymilvus.exceptions import MilvusException

    try:
        yield
    except (MilvusException, RpcError) as error:
        raise kind(f"Milvus{where}: {' '.join(str(error).split())}.") from None


def _client(url: str) -> Any:
    from pymilvus import MilvusClient

    return MilvusClient(uri=url, timeout=CONNECT_S)


def _command(port: int) -> list[str]:
    start = [sys.executable, "-m", "milvus_lite", "server", "--data-dir", "data"]
    return [*start, "--host", "127.0.0.1", "--port", str(port)]
