"""usearch: HNSW graph or exact search, in this process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic.dataclasses import dataclass

from rankstone.runners.protocols import STRICT, Chunks, Context
from rankstone.runners.search.engines.engine import ChangingIndex, OverEngine, numbered
from rankstone.runners.search.exact.flat import Vectors
from rankstone.runners.search.faiss.faiss_index import Positions

FILE = "index.usearch"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class USearch(OverEngine):
    """HNSW graph of float32 vectors by usearch, which draws levels with its own seed.

    Ties: see `EngineIndex`.
    """

    DESCRIPTION: ClassVar[str] = "HNSW graph, inner product, usearch"
    ENGINE: ClassVar[str] = "usearch"
    requires: ClassVar[Mapping[str, str]] = {"usearch": "engines"}

    def build(self, documents: Chunks[Any], context: Context) -> USearchIndex:
        from usearch.index import Index

        about = self.about(documents, context)
        engine = Index(
            ndim=about["dim"], metric="ip", dtype="f32", connectivity=self.m,
            expansion_add=self.ef_construction, expansion_search=self.ef_search,
        )  # fmt: skip
        for positions, block in numbered(documents):
            engine.add(positions, block, threads=1)
        return USearchIndex(engine, about)


class USearchIndex(ChangingIndex):
    """A usearch index, which has no filter in Python. The space of deleted vectors is reused."""

    def found(self, queries: Vectors, k: int) -> tuple[Positions, Vectors]:
        exact, threads = self.about["exact"], self.about["threads"]
        matches = self.engine.search(queries, k, exact=exact, threads=threads)
        docs = matches.keys.reshape(len(queries), -1).astype(np.int64)
        scores = 1 - matches.distances.reshape(docs.shape)
        if len(queries) > 1:  # several queries give padded rows, one query an unpadded one
            pads = np.arange(docs.shape[1]) >= matches.counts[:, None]
            docs[pads], scores[pads] = -1, -np.inf
        return docs, scores

    def add(self, keys: Positions, vectors: Vectors) -> None:
        self.engine.add(keys, vectors, threads=1)

    def remove(self, keys: Positions) -> None:
        self.engine.remove(keys, threads=1)

    def write(self, folder: Path) -> None:
        self.engine.save(str(folder / FILE))

    @classmethod
    def opened(cls, folder: Path, about: Mapping[str, Any]) -> Any:
        from usearch.index import Index

        engine: Any = Index.restore(str(folder / FILE))
        engine.expansion_search = about["ef_search"]
        return engine

    def nbytes(self) -> int:
        """Return the bytes of the serialised index; usearch reserves more, in large pages."""
        return int(self.engine.serialized_length)
