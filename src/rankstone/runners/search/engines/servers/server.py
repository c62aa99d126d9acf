"""Shared parts of adapters for servers that search a member's vectors."""

from __future__ import annotations

import contextlib
import os
import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import SplitResult, urlsplit

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.errors import EngineError
from rankstone.runners.adapter_json import class_of, name_of
from rankstone.runners.protocols import STRICT, Chunks, Context
from rankstone.runners.search.engines.engine import (
    ChangingIndex,
    EngineIndex,
    OverEngine,
    one_by_one,
)
from rankstone.runners.search.exact.flat import Mapped, Vectors
from rankstone.runners.search.faiss.faiss_index import Positions, blocks
from rankstone.runners.search.faiss.inverted_lists import Lists
from rankstone.specs.values import Variable

VECTORS = "vectors.f32"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class OverServer(OverEngine):
    """Base of engines that are servers, searched with one query at a time.

    Vectors are stored in a collection (a table, an index) with a random name, removed at the end.
    """

    COLLECTION: ClassVar[type[Collection]]
    INDEX: ClassVar[type[ServerIndex]]

    url_env: Variable = ""
    """Name of the environment variable with the server's address."""
    timeout: Annotated[float, Field(gt=0)] = 60.0
    """Seconds to wait for the response to a query."""

    def server_version(self) -> str:
        """Return the version of the server at the address; empty if the cell starts its own."""
        return self.version() if self.url_env else ""

    def about(self, documents: Chunks[Any], context: Context) -> dict[str, Any]:
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "members"}
        return {**own, **super().about(documents, context)}

    def build(self, documents: Chunks[Any], context: Context) -> EngineIndex:
        self.version()  # fails for a wrong address before documents are encoded
        about = {**self.about(documents, context), "collection": name_of(self.COLLECTION)}
        filled = self.COLLECTION(about, documents, context.work, context.columns)
        return self.INDEX(filled, about)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class GraphOrLists(OverServer):
    """Base of servers with a graph or inverted lists."""

    kind: Literal["hnsw", "ivfflat"] = "hnsw"
    """Index type: HNSW graph (`m`, `ef_construction`, `ef_search`), or inverted lists."""
    n_lists: Lists = "auto"
    """Clusters of documents; "auto": 4 sqrt(n), with at least 39 documents each."""
    n_probe: Annotated[int, Field(ge=1)] = 16
    """Number of lists read per search."""


class Collection(ABC):
    """Vectors on a server under a random name.

    Args:
        about: See `OverServer.about`.
        vectors: Vectors to send to the server.
        work: Folder for a local server's files, and for notes about data to remove.
        columns: See `Context.columns`.
    """

    def __init__(
        self,
        about: Mapping[str, Any],
        vectors: Iterable[Vectors],
        work: Path,
        columns: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self.about, self.vectors, self.columns = about, vectors, columns
        self.name = random_name()
        self.open(work)

    @abstractmethod
    def open(self, work: Path) -> None:
        """Connect to a server, or start one, and send the vectors."""

    @abstractmethod
    def ask(self, query: Vectors, k: int) -> tuple[ArrayLike, ArrayLike]:
        """Return at most `k` positions and inner products, best first."""

    def disk_bytes(self) -> int | None:
        """Return the bytes on disk reported by the server; None if it reports none."""
        return None

    def memory_bytes(self) -> int | None:
        """Return the memory of the server's processes; None for a shared server."""
        return None


class ServerIndex(EngineIndex):
    """A collection on a server; it is saved as vectors, which `load` sends to a server again."""

    engine: Collection

    def found(self, queries: Vectors, k: int) -> tuple[Positions, Vectors]:
        return one_by_one(queries, k, lambda query: self.engine.ask(query, k))

    def write(self, folder: Path) -> None:
        with (folder / VECTORS).open("wb") as file:
            for block in blocks(self.engine.vectors):
                file.write(block.data)

    @classmethod
    def opened(cls, folder: Path, about: Mapping[str, Any]) -> Any:
        vectors = Mapped(folder / VECTORS, about["rows"], about["dim"])
        return class_of(about["collection"])(about, vectors, folder)

    def nbytes(self) -> int | None:
        """Return the memory of the server's processes."""
        return self.engine.memory_bytes()

    def disk_bytes(self) -> int | None:
        """Return the bytes on disk reported by the server."""
        return self.engine.disk_bytes()


OverServer.INDEX = ServerIndex


class ChangingCollection(Collection):
    """A collection that supports insertion and deletion."""

    @abstractmethod
    def add(self, keys: Positions, vectors: Vectors) -> None:
        """Insert vectors, with null in the other columns."""

    @abstractmethod
    def remove(self, keys: Positions) -> None:
        """Delete vectors."""


class ChangingServerIndex(ServerIndex, ChangingIndex):
    """A collection on a server that supports insertion and deletion."""

    engine: ChangingCollection

    def add(self, keys: Positions, vectors: Vectors) -> None:
        self.engine.add(keys, vectors)

    def remove(self, keys: Positions) -> None:
        self.engine.remove(keys)


def refuse_existing(exists: object, name: str, where: str) -> None:
    """Raise EngineError if the collection already exists: others' data is never overwritten."""
    if exists:
        raise EngineError(f"{where}: '{name}' exists there, and was left as it is. Run again.")


def address(variable: str, example: str, parameter: str = "url_env") -> str:
    """Return the value of the environment variable named by a parameter."""
    found = os.environ.get(variable, "").strip()
    if not found:
        raise EngineError(
            f"The environment variable '{variable}' (parameters.{parameter}) is not set. Set it:"
            f" export {variable}={example}"
        )
    return found


def url_of(variable: str, example: str) -> SplitResult:
    """Return the URL in a variable; EngineError, which does not show it, if it is invalid."""
    with contextlib.suppress(ValueError):
        url = urlsplit(address(variable, example))
        beyond = f"{url.path}{url.query}{url.fragment}"
        if url.scheme in ("http", "https") and url.hostname and url.port != 0 and "@" not in beyond:
            return url
    raise no_address(variable, example)


def no_address(variable: str, example: str) -> EngineError:
    """Return the error for an invalid address, without its value, which may contain a password."""
    return EngineError(
        f"The environment variable '{variable}' holds no address. Write it as in {example}. In a"
        " user name or password, write : / ? # @ as %3A %2F %3F %23 %40."
    )


def random_name() -> str:
    """Return a unique name for a collection."""
    return f"rankstone_{secrets.token_hex(8)}"


def as_list(vector: Vectors) -> list[float]:
    """Return the values as JSON floats, without rounding of float32."""
    return np.asarray(vector, dtype=np.float64).tolist()  # type: ignore[no-any-return]
