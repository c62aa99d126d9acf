"""Lucene's inverted index in a folder: writing, searching, saving and size."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from rankstone.runners.adapter_json import from_json, to_json
from rankstone.runners.lucene.jvm import detach, java, upcast
from rankstone.runners.protocols import Hits

BUFFER_MB = 64.0
"""Size of Lucene's write buffer in MB."""
ABOUT = "rankstone.json"
INDEX, SEARCH = "org.apache.lucene.index", "org.apache.lucene.search"


class Top(NamedTuple):
    """The best documents of one query, best first."""

    docs: NDArray[np.int64]
    scores: NDArray[np.float32]


class FolderIndex:
    """Base of Lucene's indexes: a memory-mapped folder and its search settings.

    Each thread searches for one query.
    """

    def __init__(self, folder: Path, settings: Any) -> None:
        """`settings`: a dataclass of JSON values that states `threads`."""
        self._folder = folder
        self._settings = settings

    def search(self, queries: Any, k: int) -> Hits:
        hits = Hits.empty(len(queries), k)
        if not len(queries) or not k:
            return hits
        asked, searcher = self._asked(queries), self._searcher

        def fill(rows: NDArray[np.int64], last: bool = True) -> None:
            try:
                for row in rows:
                    docs, scores = self._top(searcher, asked[row], k)
                    hits.docs[row, : len(docs)] = docs
                    hits.scores[row, : len(docs)] = scores
            finally:
                if last:
                    detach()

        parts = np.array_split(np.arange(len(queries)), min(self._settings.threads, len(queries)))
        if len(parts) == 1:
            fill(parts[0], last=False)
        else:
            with ThreadPoolExecutor(len(parts)) as pool:
                list(pool.map(fill, parts))
        return hits

    def save(self, folder: Path) -> None:
        for path in self._files():
            shutil.copyfile(path, folder / path.name)
        (folder / ABOUT).write_text(json.dumps(to_json(self._settings)))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Map the index in `folder`, which must be kept."""
        return cls(folder, from_json(json.loads((folder / ABOUT).read_text())))

    def nbytes(self) -> int:
        """Return the size of the mapped files; the Java virtual machine is not included."""
        return sum(path.stat().st_size for path in self._files())

    def _files(self) -> list[Path]:
        others = {ABOUT, "write.lock"}
        return sorted(path for path in self._folder.iterdir() if path.name not in others)

    def _asked(self, queries: Any) -> Sequence[Any]:
        """Return the queries one by one, as `_top` expects them."""
        return queries  # type: ignore[no-any-return]

    def _top(self, searcher: Any, query: Any, k: int) -> Top:
        """Return the `k` best documents by position."""
        raise NotImplementedError

    @cached_property
    def _searcher(self) -> Any:
        """Return the searcher for `_top`, shared by threads."""
        raise NotImplementedError


class Searcher:
    """Lucene's searcher over a folder, whose hits are passed from Java as one string.

    Passing them as objects, one by one, is slow.
    """

    def __init__(self, folder: Path, similarity: Any) -> None:
        opened = java(f"{INDEX}.DirectoryReader").open(directory(folder))
        kind = java(f"{SEARCH}.IndexSearcher")
        kind.setMaxClauseCount(2**31 - 1)  # no limit on the words of a query
        self.java = kind(upcast(f"{INDEX}.IndexReader", opened))
        self.java.setSimilarity(similarity)
        self._json = java("com.fasterxml.jackson.databind.ObjectMapper")()

    def best(self, query: Any, k: int) -> Top:
        """Return the `k` best documents of a query by Lucene's document numbers; ties to the
        lower."""
        found = self.as_json(self.java.search(query, k))["scoreDocs"]
        return Top(
            np.array([hit["doc"] for hit in found], dtype=np.int64),
            np.array([hit["score"] for hit in found], dtype=np.float32),
        )

    def as_json(self, value: Any) -> Any:
        return json.loads(self._json.writeValueAsString(value))


def opened_writer(folder: Path, similarity: Any, threads: int, *analyser: Any) -> Any:
    """Return a writer into the existing, empty `folder` that keeps documents in order: one thread
    writes, and only adjacent segments are merged."""
    configuration = java(f"{INDEX}.IndexWriterConfig")(*analyser)
    configuration.setSimilarity(similarity)
    configuration.setMergePolicy(java(f"{INDEX}.LogByteSizeMergePolicy")())
    if threads == 1:
        configuration.setMergeScheduler(java(f"{INDEX}.SerialMergeScheduler")())
    configuration.setRAMBufferSizeMB(BUFFER_MB)
    return java(f"{INDEX}.IndexWriter")(directory(folder), configuration)


def closed(writer: Any) -> None:
    """Merge all segments into one, and close the writer."""
    writer.forceMerge(1)
    writer.close()


def frequencies() -> Any:
    """Return the type of a field that stores terms and their frequencies."""
    kind = java("org.apache.lucene.document.FieldType")()
    kind.setIndexOptions(java(f"{INDEX}.IndexOptions").DOCS_AND_FREQS)
    return kind


def directory(folder: Path) -> Any:
    path = java("java.nio.file.Paths").get(str(folder))
    return java("org.apache.lucene.store.FSDirectory").open(path)


def falling(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return descending positive scores, each lowered by the least that makes them all distinct."""
    # Positive floats are ordered as their bits, and adjacent floats differ by one.
    steps = np.arange(len(scores), dtype=np.int64)
    bits = np.minimum.accumulate(scores.view(np.int32) + steps) - steps
    return bits.astype(np.int32).view(np.float32)
