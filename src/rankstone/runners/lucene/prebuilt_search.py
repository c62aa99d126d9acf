"""Search in a prebuilt Lucene index, whose documents are matched with the collection by id."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rankstone.errors import AdapterError
from rankstone.runners.adapter_json import from_json, to_json
from rankstone.runners.lucene.folder_index import (
    ABOUT,
    SEARCH,
    FolderIndex,
    Searcher,
    Top,
    falling,
)
from rankstone.runners.lucene.impacts import SIMILARITY, ImpactQueries, quantised
from rankstone.runners.lucene.jvm import java, upcast
from rankstone.runners.lucene.lucene_index import WordQueries, bm25, english
from rankstone.runners.protocols import DocumentIds
from rankstone.runners.representations.sparse_rows import Row, SparseRows

PIECE = 10_000
"""Documents whose ids are read at once."""
MORE = 32
"""Documents retrieved beyond rank k, to order ties there."""
POSITIONS, RANKS, VOCABULARY = "positions.npy", "ranks.npy", "vocabulary.json"


@dataclass(frozen=True, kw_only=True)
class PrebuiltSettings:
    """How a prebuilt index is searched."""

    name: str
    folder: str
    separate_ties: bool
    threads: int
    k1: float = 0.9
    b: float = 0.4
    fields: Mapping[str, float] | None = None
    """Field of words -> weight; None for an impact index."""
    language: str = "en"
    query_scale: float = 1.0


class PrebuiltIndex(FolderIndex):
    """Index in a folder of pyserini's cache, which is not copied.

    Documents missing in the collection are skipped. Ties, also at rank k, go to the lower id in
    byte order, as in Anserini.
    """

    def __init__(
        self,
        folder: Path,
        settings: PrebuiltSettings,
        positions: NDArray[np.int64],
        ranks: NDArray[np.int32],
        vocabulary: Sequence[str] = (),
        notes: Sequence[str] = (),
    ) -> None:
        """`positions`: corpus position of each Lucene document; -1 if the corpus does not have it.

        `ranks`: rank of each document by its id. `vocabulary`: terms of impacts by the encoder's
        ids.
        """
        super().__init__(folder, settings)
        self._positions, self._ranks = positions, ranks
        self._vocabulary, self._notes = vocabulary, notes

    @classmethod
    def open(
        cls, settings: PrebuiltSettings, ids: DocumentIds, vocabulary: Sequence[str] = ()
    ) -> PrebuiltIndex:
        """Read the ids of all documents. Raises AdapterError if none is in the collection."""
        folder = Path(settings.folder)
        own = _ids(folder)
        positions, ranks = ids.positions(own), np.empty(len(own), dtype=np.int32)
        # Code points sort as UTF-8 bytes do.
        ranks[sorted(range(len(own)), key=own.__getitem__)] = np.arange(len(own))
        notes = _notes(settings.name, own, ids, positions)
        return cls(folder, settings, positions, ranks, vocabulary, notes)

    def notes(self) -> list[str]:
        """Return notes about documents that only the index or only the collection has."""
        return list(self._notes)

    def nbytes(self) -> int:
        return super().nbytes() + self._positions.nbytes + self._ranks.nbytes

    def save(self, folder: Path) -> None:
        """Write links to the files, which belong to pyserini's cache and are not copied."""
        for path in self._files():
            (folder / path.name).symlink_to(path.resolve())
        np.save(folder / POSITIONS, self._positions)
        np.save(folder / RANKS, self._ranks)
        (folder / VOCABULARY).write_text(json.dumps(list(self._vocabulary)))
        (folder / ABOUT).write_text(json.dumps(to_json(self._settings)))

    @classmethod
    def load(cls, folder: Path) -> PrebuiltIndex:
        settings = from_json(json.loads((folder / ABOUT).read_text()))
        vocabulary = json.loads((folder / VOCABULARY).read_text())
        positions, ranks = np.load(folder / POSITIONS), np.load(folder / RANKS)
        return cls(Path(settings.folder), settings, positions, ranks, vocabulary)

    def _asked(self, queries: Any) -> Sequence[Any]:
        rows: Sequence[Any] = queries.rows() if isinstance(queries, SparseRows) else queries
        return rows

    def _top(self, searcher: _Prebuilt, query: Any, k: int) -> Top:
        asked = searcher.query(query, self._vocabulary)
        wanted = k + MORE
        while True:
            docs, scores = searcher.best(asked, wanted)
            order = np.lexsort((self._ranks[docs], -scores))
            positions, ordered = self._positions[docs[order]], scores[order]
            first = np.sort(np.unique(positions, return_index=True)[1])  # the first of each
            kept = first[positions[first] >= 0]
            if len(docs) < wanted or (len(kept) >= k and ordered[kept[k - 1]] > ordered[-1]):
                break
            wanted *= 2
        found, values = positions[kept][:k], ordered[kept][:k]
        return Top(found, falling(values) if self._settings.separate_ties else values)

    @cached_property
    def _searcher(self) -> _Prebuilt:
        return _Prebuilt(self._folder, self._settings)


class _Prebuilt:
    """Search with one query at a time; thread-safe."""

    def __init__(self, folder: Path, settings: PrebuiltSettings) -> None:
        fields, analysis = settings.fields or {}, analyser(folder, settings.language)
        self._searcher = Searcher(folder, bm25(settings) if fields else java(SIMILARITY)())
        self._words = WordQueries(fields, analysis)
        self._impacts, self._scale = ImpactQueries(), settings.query_scale

    def query(self, given: str | Row, vocabulary: Sequence[str]) -> Any:
        if isinstance(given, str):
            return self._words.query(given)
        terms, impacts = quantised(given, self._scale)
        named = ((vocabulary[term], impact) for term, impact in zip(terms, impacts, strict=True))
        return self._impacts.query({term: int(impact) for term, impact in named})

    def best(self, query: Any, k: int) -> Top:
        return self._searcher.best(query, k)


def analyser(folder: Path, language: str) -> Any:
    """Return Lucene's analyser of a language, as in Anserini's searcher."""
    if language == "en":
        return english()
    searcher = java("io.anserini.search.SimpleSearcher")(str(folder))
    searcher.set_language(language)
    return searcher.get_analyzer()


def _ids(folder: Path) -> list[str]:
    """Return the ids of all documents in Lucene's order, read by Anserini in pieces."""
    searcher = Searcher(folder, java(SIMILARITY)())
    everything = upcast(f"{SEARCH}.Query", java(f"{SEARCH}.MatchAllDocsQuery")())
    reader = searcher.java.getIndexReader()
    if reader.maxDoc() != reader.numDocs():
        raise AdapterError(f"{folder}: documents of the index are deleted. Fetch it again.")
    read = java("io.anserini.search.ScoredDocs").fromTopDocs
    after, found = java(f"{SEARCH}.ScoreDoc"), list[str]()
    while len(found) < reader.maxDoc():  # all have score 1, so they are in Lucene's order
        last = after(len(found) - 1, 1.0) if found else None
        piece = searcher.java.searchAfter(last, everything, PIECE)
        found += read(piece, searcher.java).docids
    return found


def _notes(
    name: str, own: Sequence[str], ids: DocumentIds, positions: NDArray[np.int64]
) -> list[str]:
    """Return notes that count documents which only one side has; AdapterError if none is shared."""
    what = f"lucene:{name}"
    unknown = np.flatnonzero(positions < 0)
    if len(own) and len(unknown) == len(own):
        raise AdapterError(
            f"{what}: none of its {len(own):,} documents, such as '{own[0]}', is in the collection,"
            f" whose ids are such as '{ids[0] if len(ids) else ''}'. Name the index of the task's"
            " collection."
        )
    held = np.zeros(len(ids), dtype=np.bool_)
    held[positions[positions >= 0]] = True
    notes = list[str]()
    if len(unknown):
        notes.append(
            f"{what}: {len(unknown):,} of its {len(own):,} documents are not in the collection and"
            f" are left out, such as '{own[unknown[0]]}'"
        )
    if not held.all():
        notes.append(
            f"{what}: {int((~held).sum()):,} of the collection's {len(ids):,} documents are not in"
            f" the index and cannot be found, such as '{ids[int(np.flatnonzero(~held)[0])]}'"
        )
    return notes
