"""Qdrant's engine inside this process (qdrant-edge-py): a shard in a folder of the cell."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic.dataclasses import dataclass

from rankstone.runners.protocols import STRICT, Chunks, Context
from rankstone.runners.search.engines import folder as folders
from rankstone.runners.search.engines.engine import EngineIndex, OverEngine, numbered, one_by_one
from rankstone.runners.search.exact.flat import Vectors
from rankstone.runners.search.faiss.faiss_index import Positions

BLOCK = 4096
"""Points written at once."""
THRESHOLD_KB = 10
"""Vectors from which on a segment has a graph, and a search takes it: the least Qdrant allows."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Qdrant(OverEngine):
    """Graph of float32 vectors by Qdrant's engine, embedded; no server runs.

    Points are written, then the shard is optimised until nothing is left to do; a segment of less
    than `THRESHOLD_KB` of vectors is searched exactly. Queries are searched one by one. Ties: see
    `EngineIndex`.
    """

    DESCRIPTION: ClassVar[str] = "HNSW graph, inner product, Qdrant embedded"
    ENGINE: ClassVar[str] = "qdrant-edge-py"
    requires: ClassVar[Mapping[str, str]] = {"qdrant_edge": "engines"}

    def build(self, documents: Chunks[Any], context: Context) -> QdrantIndex:
        import qdrant_edge as qdrant

        about = self.about(documents, context)
        folder = folders.fresh(context.work, "qdrant")
        shard = qdrant.EdgeShard.create(str(folder), self._config(about["dim"], context.threads))
        for positions, block in numbered(documents, BLOCK):
            rows = zip(positions.tolist(), block.tolist(), strict=True)
            points = [qdrant.Point(position, row, {}) for position, row in rows]
            shard.update(qdrant.UpdateOperation.upsert_points(points))
        while not self.exact and shard.optimize():
            pass
        shard.flush()
        return QdrantIndex((shard, folder), {**about, "bytes": folders.filled(folder)})

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


class QdrantIndex(EngineIndex):
    """A shard whose point ids are positions, and its folder."""

    def found(self, queries: Vectors, k: int) -> tuple[Positions, Vectors]:
        import qdrant_edge as qdrant

        shard, _ = self.engine
        how = qdrant.SearchParams(hnsw_ef=self.about["ef_search"], exact=self.about["exact"])

        def ask(query: Vectors) -> tuple[Any, Any]:
            nearest = qdrant.Query.Nearest(query.tolist())
            points = shard.query(qdrant.QueryRequest(query=nearest, limit=k, params=how))
            return [point.id for point in points], [point.score for point in points]

        return one_by_one(queries, k, ask)

    def write(self, folder: Path) -> None:
        folders.copied(self.engine[1], folder)

    @classmethod
    def opened(cls, folder: Path, about: Mapping[str, Any]) -> Any:
        import qdrant_edge as qdrant

        return qdrant.EdgeShard.load(str(folder / folders.FOLDER)), folder / folders.FOLDER

    def nbytes(self) -> int:
        """Return the bytes of the blocks of the mapped files when they were written.

        Qdrant reserves more than it fills, and a copy has no holes."""
        return int(self.about["bytes"])
