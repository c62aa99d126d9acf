"""Shared parts of adapters for third-party vector search engines."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.predicates import Joined, Predicate, Value, Where
from rankstone.runners.protocols import STRICT, Chunks, Context, Hits, Json
from rankstone.runners.search.base import OverEncoder
from rankstone.runners.search.exact.flat import Vectors, check_queries, padded
from rankstone.runners.search.faiss.faiss_index import (
    BLOCK_ROWS,
    Positions,
    blocks,
    settled,
    training_sample,
)

ABOUT = "engine.json"
LARGE = np.float32(2**40)
"""Factor of queries, divided out of scores: engines whose distance is 1 minus the inner product
lose small products to rounding, but not large ones. A power of two causes no rounding itself."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class OverEngine(OverEncoder):
    """Base of engines with an HNSW graph, or exact search.

    Malkov and Yashunin, IEEE TPAMI 2020, arXiv:1603.09320. All compare by inner product. A graph is
    built by one thread in corpus order, if the engine allows it. The description includes the
    engine's version.
    """

    APPROXIMATES: ClassVar[bool] = True
    ENGINE: ClassVar[str]
    """Name of the engine's Python distribution."""

    m: Annotated[int, Field(ge=2)] = 32
    """Neighbours per vector on the upper levels; twice as many on the lowest level."""
    ef_construction: Annotated[int, Field(ge=1)] = 200
    """Size of the candidate list when inserting a vector."""
    ef_search: Annotated[int, Field(ge=1)] = 128
    """Size of the candidate list in a search; at least k."""
    exact: bool = False
    """True: exact search; the graph's parameters then have no effect."""

    def describe(self) -> Mapping[str, Json]:
        described = dict(super().describe())
        index: Any = described["index"]
        return {**described, "index": {**index, "engine": self.version()}}

    def version(self) -> str:
        """Return name and version of the engine."""
        return f"{self.ENGINE} {version(self.ENGINE)}"

    def about(self, documents: Chunks[Any], context: Context) -> dict[str, Any]:
        """Return the properties that an index needs in addition to the engine's own files."""
        dim = training_sample(documents, 1, context.seed).shape[1]
        return {
            "rows": len(documents), "dim": dim, "threads": context.threads,
            "ef_search": self.ef_search, "exact": self.exact,
        }  # fmt: skip


def numbered(
    documents: Iterable[Vectors], rows: int = BLOCK_ROWS
) -> Iterator[tuple[NDArray[np.int64], Vectors]]:
    """Yield blocks of vectors, each with the positions of its documents."""
    position = 0
    for block in blocks(documents, rows):
        yield np.arange(position, position + len(block)), block
        position += len(block)


def values(columns: Mapping[str, Any], positions: NDArray[np.int64]) -> list[dict[str, Any]]:
    """Return column -> value for each of consecutive documents, without missing values."""
    start, n = int(positions[0]) if len(positions) else 0, len(positions)
    parts = {name: column.slice(start, n).to_pylist() for name, column in columns.items()}
    rows = zip(*parts.values(), strict=True) if parts else [()] * n
    return [
        {name: value for name, value in zip(parts, row, strict=True) if value is not None}
        for row in rows
    ]


def sql(predicate: Predicate, name: Callable[[str], str]) -> str:
    """Return the predicate as an SQL condition; `name` maps a column to its name in SQL."""
    if isinstance(predicate, Joined):
        parts = [sql(part, name) for part in predicate.parts]
        return f"({f' {predicate.how} '.join(parts)})"
    sign = {"==": "=", "!=": "<>"}.get(predicate.operator, predicate.operator)
    return f"{name(predicate.column)} {sign} {_literal(predicate.value)}"


def _literal(value: Value) -> str:
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return str(value).lower()


def one_by_one(
    queries: Any, k: int, ask: Callable[[Any], tuple[ArrayLike, ArrayLike]]
) -> tuple[Positions, Vectors]:
    """Call `ask` for each query; return at most `k` positions and scores per query, as `found`."""
    if len(queries) == 1:  # while latency is measured
        positions, values = ask(queries[0])
        return np.array([positions], np.int64), np.array([values], np.float32)
    docs = np.full((len(queries), k), -1, np.int64)
    scores = np.full((len(queries), k), -np.inf, np.float32)
    for row, query in enumerate(queries):
        positions, values = map(np.asarray, ask(query))
        docs[row, : len(positions)], scores[row, : len(values)] = positions, values
    return docs, scores


def by_score(positions: list[int], scores: list[float]) -> tuple[list[int], list[float]]:
    """Return results, best first, with ties by position; `scores` are in descending order."""
    if len({*scores}) < len(scores):
        ranked = sorted(zip(scores, positions, strict=True), key=lambda one: (-one[0], one[1]))
        scores, positions = map(list, zip(*ranked, strict=True))
    return positions, scores


class EngineIndex(ABC):
    """Index in an engine.

    Ties among the results go to the lower position (see `settled`); at rank k the engine breaks
    them.
    """

    INNER_PRODUCTS: ClassVar[bool] = False
    """True if the engine returns inner products, which need no factor `LARGE`."""

    def __init__(self, engine: Any, about: Mapping[str, Any]) -> None:
        self.engine = engine
        self.about = about

    def search(self, queries: Vectors, k: int) -> Hits:
        return self._among(queries, k, self.about["rows"], self.found)

    def _among(
        self,
        queries: Vectors,
        k: int,
        rows: int,
        found: Callable[[Vectors, int], tuple[Positions, Vectors]],
    ) -> Hits:
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        check_queries(queries, self.about["dim"])
        depth = min(k, rows)
        if not len(queries) or not depth:
            return Hits.empty(len(queries), k)
        if self.INNER_PRODUCTS:
            return padded(*settled(*found(queries, depth)), k)
        docs, scores = found(queries * LARGE, depth)
        return padded(*settled(docs, scores / LARGE), k)

    def save(self, folder: Path) -> None:
        (folder / ABOUT).write_text(json.dumps(self.about))
        self.write(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        about = json.loads((folder / ABOUT).read_text())
        return cls(cls.opened(folder, about), about)

    @abstractmethod
    def found(self, queries: Vectors, k: int) -> tuple[Positions, Vectors]:
        """Return (n, at most k) positions and inner products, best first, padded by -1 and -inf."""

    @abstractmethod
    def write(self, folder: Path) -> None:
        """Write the engine's files into `folder`."""

    @classmethod
    @abstractmethod
    def opened(cls, folder: Path, about: Mapping[str, Any]) -> Any:
        """Return the engine from the files of `write`."""

    @abstractmethod
    def nbytes(self) -> int | None:
        """Return the bytes of vectors and graph as reported by the engine."""


class FilteringIndex(EngineIndex):
    """An engine with native filtered search."""

    filtering: ClassVar[Literal["native"]] = "native"

    def search_where(self, queries: Vectors, k: int, where: Where) -> Hits:
        rows = int(where.passes.sum())
        return self._among(queries, k, rows, lambda q, depth: self.found_where(q, depth, where))

    @abstractmethod
    def found_where(self, queries: Vectors, k: int, where: Where) -> tuple[Positions, Vectors]:
        """Return the results of `found` among passing documents, of which there are at least
        `k`."""


class ChangingIndex(EngineIndex):
    """An engine that supports insertion and deletion."""

    def insert(self, keys: Positions, documents: Vectors) -> None:
        self.add(keys, np.ascontiguousarray(documents, dtype=np.float32))
        self.about = {**self.about, "rows": self.about["rows"] + len(keys)}

    def delete(self, keys: Positions) -> None:
        self.remove(keys)
        self.about = {**self.about, "rows": self.about["rows"] - len(keys)}

    @abstractmethod
    def add(self, keys: Positions, vectors: Vectors) -> None:
        """Insert vectors under new keys."""

    @abstractmethod
    def remove(self, keys: Positions) -> None:
        """Delete the vectors of these keys."""
