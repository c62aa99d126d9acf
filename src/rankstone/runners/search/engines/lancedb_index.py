"""LanceDB inside this process: a table in a folder of the cell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic.dataclasses import dataclass

from rankstone.runners.protocols import STRICT, Chunks, Context
from rankstone.runners.search.engines import folder as folders
from rankstone.runners.search.engines.engine import EngineIndex, OverEngine, numbered, one_by_one
from rankstone.runners.search.exact.flat import Vectors
from rankstone.runners.search.faiss.faiss_index import Positions

TABLE, VECTOR, POSITION = "documents", "vector", "position"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LanceDB(OverEngine):
    """One partition with a graph of float32 vectors by LanceDB, whose folder is on disk.

    LanceDB builds on all cores, so graphs may differ between runs. Queries are searched one by one.
    Ties: see `EngineIndex`.
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
        schema = pa.schema(list(fields.items()))
        table = lancedb.connect(str(folder)).create_table(
            TABLE, data=pa.RecordBatchReader.from_batches(schema, _batches(documents, schema))
        )
        if not self.exact:
            graph = lancedb.index.HnswFlat(
                distance_type="dot", num_partitions=1, m=self.m,
                ef_construction=self.ef_construction,
            )  # fmt: skip
            table.create_index(VECTOR, config=graph)
        return LanceDBIndex((table, folder), about)


def _batches(documents: Chunks[Any], schema: Any) -> Iterator[Any]:
    import pyarrow as pa

    for positions, block in numbered(documents):
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(block.ravel()), block.shape[1])
        yield pa.RecordBatch.from_arrays([vectors, pa.array(positions)], schema=schema)


class LanceDBIndex(EngineIndex):
    """A table with the positions of the documents, and its folder."""

    def found(self, queries: Vectors, k: int) -> tuple[Positions, Vectors]:
        def ask(query: Vectors) -> tuple[Any, Any]:
            search = self.engine[0].search(query, vector_column_name=VECTOR).distance_type("dot")
            search = search.limit(k).select([POSITION, "_distance"])
            if self.about["exact"]:
                search = search.bypass_vector_index()
            else:
                search = search.ef(max(self.about["ef_search"], k))
            found = search.to_arrow()
            return found[POSITION].to_numpy(), 1 - found["_distance"].to_numpy()

        return one_by_one(queries, k, ask)

    def write(self, folder: Path) -> None:
        folders.copied(self.engine[1], folder)

    @classmethod
    def opened(cls, folder: Path, about: Mapping[str, Any]) -> Any:
        import lancedb

        inside = folder / folders.FOLDER
        return lancedb.connect(str(inside)).open_table(TABLE), inside

    def nbytes(self) -> int:
        """Return the bytes of the files; LanceDB caches what it reads of them."""
        return folders.size(self.engine[1])
