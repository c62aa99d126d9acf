"""hnswlib, the implementation by the authors of HNSW, inside this process."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic.dataclasses import dataclass

from rankstone.runners.protocols import STRICT, Chunks, Context
from rankstone.runners.search.engines.engine import EngineIndex, OverEngine, numbered
from rankstone.runners.search.exact.flat import Vectors, padded
from rankstone.runners.search.faiss.faiss_index import Positions

FILE = "index.hnswlib"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class HnswLib(OverEngine):
    """Graph of float32 vectors by hnswlib; levels are drawn by the context's seed.

    Ties: see `EngineIndex`.
    """

    DESCRIPTION: ClassVar[str] = "HNSW graph, inner product, hnswlib"
    ENGINE: ClassVar[str] = "hnswlib"
    requires: ClassVar[Mapping[str, str]] = {"hnswlib": "engines"}

    def build(self, documents: Chunks[Any], context: Context) -> HnswLibIndex:
        about = self.about(documents, context)
        engine = _empty(about)
        graph = {"M": self.m, "ef_construction": self.ef_construction, "random_seed": context.seed}
        one = {} if self.exact else {"num_threads": 1}
        engine.init_index(about["rows"], **({} if self.exact else graph))
        for positions, block in numbered(documents):
            engine.add_items(block, positions, **one)
        return HnswLibIndex(engine, about)


class HnswLibIndex(EngineIndex):
    """An index of hnswlib whose labels are positions."""

    def found(self, queries: Vectors, k: int) -> tuple[Positions, Vectors]:
        if not self.about["exact"]:
            self.engine.set_ef(max(self.about["ef_search"], k))
        try:
            return self._asked(queries, k)
        except RuntimeError:  # a part of the graph that holds fewer than k
            rows = [
                padded(*self._most(queries[row : row + 1], k), k) for row in range(len(queries))
            ]
        return np.concatenate([r.docs for r in rows]), np.concatenate([r.scores for r in rows])

    def _asked(self, queries: Vectors, k: int) -> tuple[Positions, Vectors]:
        docs, distances = self.engine.knn_query(queries, k, num_threads=self.about["threads"])
        return docs.astype(np.int64), 1 - distances

    def _most(self, query: Vectors, k: int) -> tuple[Positions, Vectors]:
        """Return the most results, up to `k`, that one query reaches."""

        def fails(count: int) -> bool:
            try:
                self._asked(query, count)
            except RuntimeError:
                return True
            return False

        return self._asked(query, bisect_left(range(1, k + 1), True, key=fails))

    def write(self, folder: Path) -> None:
        self.engine.save_index(str(folder / FILE))

    @classmethod
    def opened(cls, folder: Path, about: Mapping[str, Any]) -> Any:
        engine = _empty(about)
        engine.load_index(str(folder / FILE), max_elements=about["rows"])
        return engine

    def nbytes(self) -> int:
        if self.about["exact"]:
            return int(self.about["rows"] * (4 * self.about["dim"] + 8))
        return int(self.engine.index_file_size())


def _empty(about: Mapping[str, Any]) -> Any:
    import hnswlib

    return (hnswlib.BFIndex if about["exact"] else hnswlib.Index)("ip", about["dim"])
