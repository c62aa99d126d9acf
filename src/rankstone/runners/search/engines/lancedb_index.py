"""LanceDB in this process: a table in a folder of the cell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic.dataclasses import dataclass

from rankstone.predicates import Where
from rankstone.runners.protocols import STRICT, Chunks, Context
from rankstone.runners.search.engines import folder as folders
from rankstone.runners.search.engines.engine import (
    ChangingIndex,
    FilteringIndex,
    OverEngine,
    numbered,
    one_by_one,
    sql,
)
from rankstone.runners.search.exact.flat import Vectors
from rankstone.runners.search.faiss.faiss_index import Positions

TABLE, VECTOR, POSITION = "documents", "vector", "position"
OWN = "own_"
"""Prefix of columns used by filters."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LanceDB(OverEngine):
    """HNSW graph of float32 vectors in one partition by LanceDB, stored on disk.

    LanceDB builds with all cores, so graphs may differ between runs. Queries are searched one by
    one. Ties: see `EngineIndex`.
    """

    DESCRIPTION: ClassVar[str] = "HNSW graph in one partition, inner product, LanceDB"
    ENGINE: ClassVar[str] = "lancedb"
    requires: ClassVar[Mapping[str, str]] = {"lancedb": "engines"}

    def build(self, documents: Chunks[Any], context: Context) -> LanceDBIndex:
        import lancedb.index
        import pyarrow as pa

        about = self.about(documents, context)
        folder = folders.fresh(context.work, "lancedb")
        fields = {VECTOR: pa.list_(pa.float32(), about["dim"]), POSITION: pa.int64()}
        own = {f"{OWN}{name}": column for name, column in context.columns.items()}
        schema = pa.schema([*fields.items(), *((name, own[name].type) for name in own)])
        made = _batches(documents, schema, list(own.values()))
        table = lancedb.connect(str(folder)).create_table(
            TABLE, data=pa.RecordBatchReader.from_batches(schema, made)
        )
        for name in own:
            table.create_index(name, config=lancedb.index.BTree())
        if not self.exact:
            graph = lancedb.index.HnswFlat(
                distance_type="dot", num_partitions=1, m=self.m,
                ef_construction=self.ef_construction,
            )  # fmt: skip
            table.create_index(VECTOR, config=graph)
        return LanceDBIndex((table, folder), about)


def _batches(documents: Chunks[Any], schema: Any, own: Sequence[Any]) -> Iterator[Any]:
    for positions, block in numbered(documents):
        parts = [column.slice(positions[0], len(block)).combine_chunks() for column in own]
        yield _batch(positions, block, schema, parts)


def _batch(keys: Positions, block: Vectors, schema: Any, own: Sequence[Any]) -> Any:
    import pyarrow as pa

    vectors = pa.FixedSizeListArray.from_arrays(pa.array(block.ravel()), block.shape[1])
    return pa.RecordBatch.from_arrays([vectors, pa.array(keys), *own], schema=schema)


class LanceDBIndex(FilteringIndex, ChangingIndex):
    """A table with the documents' keys, and its folder.

    Columns used by filters have B-tree indexes, and are filtered before the vector search.
    Compaction merges files and adds new vectors to the graph.
    """

    def found(self, queries: Vectors, k: int) -> tuple[Positions, Vectors]:
        return self._found(queries, k, None)

    def found_where(self, queries: Vectors, k: int, where: Where) -> tuple[Positions, Vectors]:
        return self._found(queries, k, sql(where.predicate, own))

    def _found(self, queries: Vectors, k: int, among: str | None) -> tuple[Positions, Vectors]:
        def ask(query: Vectors) -> tuple[Any, Any]:
            search = self.engine[0].search(query, vector_column_name=VECTOR).distance_type("dot")
            search = search.limit(k).select([POSITION, "_distance"])
            if among is not None:
                search = search.where(among, prefilter=True)
            if self.about["exact"]:
                search = search.bypass_vector_index()
            else:
                search = search.ef(max(self.about["ef_search"], k))
            found = search.to_arrow()
            return found[POSITION].to_numpy(), 1 - found["_distance"].to_numpy()

        return one_by_one(queries, k, ask)

    def add(self, keys: Positions, vectors: Vectors) -> None:
        import pyarrow as pa

        table = self.engine[0]
        own = [pa.nulls(len(keys), field.type) for field in table.schema if OWN in field.name]
        table.add(pa.Table.from_batches([_batch(keys, vectors, table.schema, own)]))

    def remove(self, keys: Positions) -> None:
        self.engine[0].delete(f"{POSITION} IN ({', '.join(map(str, keys.tolist()))})")

    def compact(self) -> None:
        self.engine[0].optimize()

    def write(self, folder: Path) -> None:
        folders.copied(self.engine[1], folder)

    @classmethod
    def opened(cls, folder: Path, about: Mapping[str, Any]) -> Any:
        import lancedb

        inside = folder / folders.FOLDER
        return lancedb.connect(str(inside)).open_table(TABLE), inside

    def nbytes(self) -> int:
        """Return the size of the files, parts of which LanceDB caches in memory."""
        return folders.size(self.engine[1])


def own(column: str) -> str:
    """Return the quoted name of a documents' column in the table."""
    return f"`{OWN}{column}`"
