"""hnswlib, the HNSW implementation by its authors, in this process."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic.dataclasses import dataclass

from rankstone.predicates import Where
from rankstone.runners.protocols import STRICT, Chunks, Context
from rankstone.runners.search.engines.engine import (
    ChangingIndex,
    FilteringIndex,
    OverEngine,
    numbered,
)
from rankstone.runners.search.exact.flat import Vectors, padded
from rankstone.runners.search.faiss.faiss_index import Positions

FILE = "index.hnswlib"
GROWTH = 1.1
"""Growth factor of an index's capacity."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class HnswLib(OverEngine):
    """HNSW graph of float32 vectors by hnswlib; levels are drawn with the context's seed.

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
        return (HnswLibIndex if self.exact else HnswLibGraph)(engine, about)


class HnswLibIndex(ChangingIndex):
    """An hnswlib index whose labels are keys. Exact search has no filter.

    (The filter of hnswlib 0.8 misses results if few of the first vectors pass.)
    """

    def found(self, queries: Vectors, k: int) -> tuple[Positions, Vectors]:
        return self._found(queries, k, num_threads=self.about["threads"])

    def _found(self, queries: Vectors, k: int, **how: Any) -> tuple[Positions, Vectors]:
        if not self.about["exact"]:
            self.engine.set_ef(max(self.about["ef_search"], k))

        def ask(asked: Vectors, count: int) -> tuple[Positions, Vectors]:
            docs, distances = self.engine.knn_query(asked, count, **how)
            return docs.astype(np.int64), 1 - distances

        try:
            return ask(queries, k)
        except RuntimeError:  # a disconnected part of the graph has fewer than k
            each = (queries[row : row + 1] for row in range(len(queries)))
            rows = [padded(*_most(ask, query, k), k) for query in each]
        return np.concatenate([r.docs for r in rows]), np.concatenate([r.scores for r in rows])

    def add(self, keys: Positions, vectors: Vectors) -> None:
        if not self.about["exact"]:
            room = self.engine.get_max_elements() - self.engine.get_current_count() - len(keys)
            if room < 0:
                self.engine.resize_index(int(GROWTH * self.engine.get_max_elements()) - room)
        one = {} if self.about["exact"] else {"num_threads": 1}
        self.engine.add_items(vectors, keys, **one)

    def remove(self, keys: Positions) -> None:
        gone = self.engine.delete_vector if self.about["exact"] else self.engine.mark_deleted
        for key in keys.tolist():
            gone(key)

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


class HnswLibGraph(HnswLibIndex, FilteringIndex):
    """A graph, filtered by a Python function in one thread. Deleted vectors remain in the graph."""

    def found_where(self, queries: Vectors, k: int, where: Where) -> tuple[Positions, Vectors]:
        return self._found(queries, k, num_threads=1, filter=where.passes.tolist().__getitem__)


def _most(
    ask: Callable[[Vectors, int], tuple[Positions, Vectors]], query: Vectors, k: int
) -> tuple[Positions, Vectors]:
    """Return as many results, up to `k`, as one query reaches in the graph."""

    def fails(count: int) -> bool:
        try:
            ask(query, count)
        except RuntimeError:
            return True
        return False

    return ask(query, bisect_left(range(1, k + 1), True, key=fails))


def _empty(about: Mapping[str, Any]) -> Any:
    import hnswlib

    return (hnswlib.BFIndex if about["exact"] else hnswlib.Index)("ip", about["dim"])
