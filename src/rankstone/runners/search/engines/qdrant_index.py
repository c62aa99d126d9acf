"""Qdrant: its engine in this process (qdrant-edge-py), or a server by its address."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic.dataclasses import dataclass

from rankstone.predicates import Comparison, Joined, Predicate, Value, Where, kind_of
from rankstone.runners.protocols import STRICT, Chunks, Context
from rankstone.runners.search.engines import folder as folders
from rankstone.runners.search.engines.engine import (
    ChangingIndex,
    EngineIndex,
    FilteringIndex,
    numbered,
    one_by_one,
    values,
)
from rankstone.runners.search.engines.servers.qdrant_rest import THRESHOLD_KB, QdrantCollection
from rankstone.runners.search.engines.servers.qdrant_rest import version as server_version
from rankstone.runners.search.engines.servers.server import Collection, OverServer
from rankstone.runners.search.exact.flat import Vectors
from rankstone.runners.search.faiss.faiss_index import Positions
from rankstone.specs.values import Variable

BLOCK = 4096
"""Points per write."""
KINDS = {bool: "Integer", int: "Integer", float: "Float", str: "Keyword"}
"""Index type of a column, by the type of its values. Booleans are stored as 0 and 1 because the
binding matches True as the integer 1."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Qdrant(OverServer):
    """HNSW graph of float32 vectors by Qdrant, embedded or on the server at `url_env`.

    After writing, the shard is optimised until there is nothing left to do; a segment with less
    than `THRESHOLD_KB` of vectors is searched exactly. Queries are searched one by one. Ties: see
    `EngineIndex`.
    """

    DESCRIPTION: ClassVar[str] = "HNSW graph, inner product, Qdrant"
    ENGINE: ClassVar[str] = "qdrant-edge-py"
    COLLECTION: ClassVar[type[Collection]] = QdrantCollection
    requires: ClassVar[Mapping[str, str]] = {"qdrant_edge": "engines"}

    key_env: Variable = ""
    """Name of the environment variable with the server's API key; empty: none is needed."""

    def version(self) -> str:
        return server_version(vars(self)) if self.url_env else super().version()

    def build(self, documents: Chunks[Any], context: Context) -> EngineIndex:
        if self.url_env:
            return super().build(documents, context)
        import qdrant_edge as qdrant

        about = self.about(documents, context)
        folder = folders.fresh(context.work, "qdrant")
        shard = qdrant.EdgeShard.create(str(folder), self._config(about["dim"], context.threads))
        for name, column in context.columns.items():
            kind = getattr(qdrant.PayloadSchemaType, KINDS[kind_of(column)])
            shard.update(qdrant.UpdateOperation.create_field_index(name, kind))
        index = QdrantIndex((shard, folder), about)
        for positions, block in numbered(documents, BLOCK):
            index.write_points(positions, block, values(context.columns, positions))
        if not self.exact:
            index.compact()
        shard.flush()
        index.about = {**about, "bytes": folders.filled(folder)}
        return index

    def _config(self, dim: int, threads: int) -> Any:
        import qdrant_edge as qdrant

        return qdrant.EdgeConfig(
            vectors=qdrant.EdgeVectorParams(size=dim, distance=qdrant.Distance.Dot),
            hnsw_config=qdrant.HnswIndexConfig(self.m, self.ef_construction, THRESHOLD_KB, 1),
            optimizers=qdrant.EdgeOptimizersConfig(
                default_segment_number=1, indexing_threshold=THRESHOLD_KB
            ),
            max_search_threads=threads,
            wal_enabled=False,
        )


class QdrantIndex(FilteringIndex, ChangingIndex):
    """A shard with keys as point ids, and its folder.

    Columns used by filters have indexes. Compaction optimises until nothing is left to do.
    """

    INNER_PRODUCTS: ClassVar[bool] = True

    def found(self, queries: Vectors, k: int) -> tuple[Positions, Vectors]:
        return self._found(queries, k, None)

    def found_where(self, queries: Vectors, k: int, where: Where) -> tuple[Positions, Vectors]:
        return self._found(queries, k, condition(where.predicate))

    def _found(self, queries: Vectors, k: int, among: Any) -> tuple[Positions, Vectors]:
        import qdrant_edge as qdrant

        shard, _ = self.engine
        how = qdrant.SearchParams(hnsw_ef=self.about["ef_search"], exact=self.about["exact"])

        def ask(query: Vectors) -> tuple[Any, Any]:
            nearest = qdrant.Query.Nearest(query.tolist())
            request = qdrant.QueryRequest(query=nearest, limit=k, params=how, filter=among)
            points = shard.query(request)
            return [point.id for point in points], [point.score for point in points]

        return one_by_one(queries, k, ask)

    def write_points(
        self, keys: Positions, vectors: Vectors, payloads: Sequence[dict[str, Any]]
    ) -> None:
        import qdrant_edge as qdrant

        stored = [{name: _stored(value) for name, value in one.items()} for one in payloads]
        rows = zip(keys.tolist(), vectors.tolist(), stored, strict=True)
        points = [qdrant.Point(*row) for row in rows]
        self.engine[0].update(qdrant.UpdateOperation.upsert_points(points))

    def add(self, keys: Positions, vectors: Vectors) -> None:
        self.write_points(keys, vectors, [{}] * len(keys))

    def remove(self, keys: Positions) -> None:
        import qdrant_edge as qdrant

        self.engine[0].update(qdrant.UpdateOperation.delete_points(keys.tolist()))

    def compact(self) -> None:
        while self.engine[0].optimize():
            pass

    def write(self, folder: Path) -> None:
        folders.copied(self.engine[1], folder)

    @classmethod
    def opened(cls, folder: Path, about: Mapping[str, Any]) -> Any:
        import qdrant_edge as qdrant

        return qdrant.EdgeShard.load(str(folder / folders.FOLDER)), folder / folders.FOLDER

    def nbytes(self) -> int:
        """Return the bytes allocated for the mapped files when they were written.

        Qdrant's files are sparse, and a copy has no holes."""
        return int(self.about["bytes"])


def condition(predicate: Predicate) -> Any:
    """Return the predicate as a Qdrant filter."""
    import qdrant_edge as qdrant

    if isinstance(predicate, Joined):
        parts = [condition(part) for part in predicate.parts]
        return qdrant.Filter(must=parts) if predicate.how == "and" else qdrant.Filter(should=parts)
    return qdrant.Filter(must=[qdrant.FieldCondition(predicate.column, **_compared(predicate))])


def _compared(test: Comparison) -> dict[str, Any]:
    import qdrant_edge as qdrant

    if isinstance(test.value, str) and test.operator == "!=":
        return {"match": qdrant.MatchExcept([test.value])}
    if isinstance(test.value, bool | str):
        return {"match": qdrant.MatchValue(_stored(test.value))}
    ends = {"==": ("gte", "lte"), "<": ("lt",), "<=": ("lte",), ">": ("gt",), ">=": ("gte",)}
    return {"range": qdrant.RangeFloat(**dict.fromkeys(ends[test.operator], float(test.value)))}


def _stored(value: Value) -> Any:
    return int(value) if isinstance(value, bool) else value
