"""Inverted index of BM25 scores, built from a stream (formulas: bm25s; Lù 2024, arXiv:2407.03618).

The score of every (term, document) pair is computed at indexing time.
"""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rankstone.runners.protocols import Hits
from rankstone.runners.representations.base import offsets_of, rows_of_runs
from rankstone.runners.representations.words import Words, numbered
from rankstone.runners.saved import SavedIndex
from rankstone.runners.search.exact.inverted_index import inverted_lists
from rankstone.runners.top_k import highest

THREADED_FROM = 64
"""Number of queries from which search uses threads."""
DOCUMENTS = 1 << 14
"""Documents per block: fixed, so that the index does not depend on the number of threads."""
PART = 1 << 18
"""Entries whose scores one thread computes at once."""


class Scoring(NamedTuple):
    """Parameters of the score."""

    k1: float
    b: float
    method: str


class Block(NamedTuple):
    """Occurrences of terms in consecutive documents, in the smallest sufficient integer types."""

    first: int
    """Position of the first document."""
    terms: NDArray[np.int32]
    counts: NDArray[np.int32]
    """Number of documents of each term, in the order in which the arrays below are concatenated."""
    documents: NDArray[np.unsignedinteger[Any]]
    """Positions relative to `first`, ascending within a term."""
    frequencies: NDArray[np.unsignedinteger[Any]]


class Blocks:
    """Blocks stored in a file instead of memory."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._kept: list[tuple[int, list[tuple[np.dtype[Any], int]]]] = []

    def append(self, block: Block) -> None:
        first, *arrays = block
        for array in arrays:
            array.tofile(self._file)
        self._kept.append((first, [(array.dtype, len(array)) for array in arrays]))

    def __iter__(self) -> Iterator[Block]:
        self._file.seek(0)
        for first, arrays in self._kept:
            yield Block(first, *(np.fromfile(self._file, *array) for array in arrays))


class Vocabulary(dict[str, int]):
    """Term -> id."""

    def save(self, folder: Path) -> None:
        (folder / "terms.json").write_text(json.dumps(list(self)))

    @classmethod
    def load(cls, folder: Path) -> Vocabulary:
        terms = json.loads((folder / "terms.json").read_text())
        return cls(zip(terms, range(len(terms)), strict=True))

    def nbytes(self) -> int:
        entries = sum(sys.getsizeof(term) + sys.getsizeof(row) for term, row in self.items())
        return sys.getsizeof(self) + entries


@dataclass(frozen=True, eq=False)
class BM25Index(SavedIndex):
    """Scores of all (term, document) pairs, by term.

    Scores are summed in float32, in the order of the query's words.
    """

    lists: Any
    """A scipy ``csc_array`` with one column per term."""
    terms: Vocabulary
    threads: int

    @classmethod
    def build(
        cls,
        pieces: Iterable[Words],
        scoring: Scoring,
        *,
        threads: int = 1,
        work: Path | None = None,
    ) -> BM25Index:
        """Build the index from `pieces`, read once in order.

        Memory is that of the finished index and one piece. A temporary file in the folder `work`
        takes at least three bytes per entry of the index, which takes eight.
        """
        from pyarrow import default_memory_pool

        terms, frequencies, lengths = Vocabulary(), np.empty(0, np.int64), [np.empty(0, np.int64)]
        position = 0
        with TemporaryFile(dir=work) as file, ThreadPoolExecutor(threads) as pool:
            blocks = Blocks(file)
            for piece in pieces:
                for block in _blocks(piece, terms, position, pool):
                    blocks.append(block)
                    frequencies = np.pad(frequencies, (0, len(terms) - len(frequencies)))
                    frequencies[block.terms] += block.counts
                lengths.append(piece.rows.lengths)
                position += len(piece)
                del piece  # free it before the next one is read
            default_memory_pool().release_unused()  # left by reading texts and tokenisation
            lists = _filled(blocks, frequencies, np.concatenate(lengths), scoring, pool)
        return cls(lists, terms, threads)

    def search(self, queries: Words, k: int) -> Hits:
        asked = queries.known_in(self.terms)
        hits = Hits.empty(len(asked), k)

        def fill(row: int) -> None:
            best, values = highest(self._scores(asked[row]), k)
            hits.docs[row, : len(best)] = best
            hits.scores[row, : len(best)] = values

        rows = range(len(asked))
        if self.threads > 1 and len(asked) >= THREADED_FROM:
            with ThreadPoolExecutor(self.threads) as pool:
                list(pool.map(fill, rows, chunksize=16))
        else:
            for row in rows:
                fill(row)
        return hits

    def _scores(self, terms: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return the (n_documents,) sums over `terms`, repeated ones included."""
        scores = np.zeros(self.lists.shape[0] if len(terms) else 0, dtype=np.float32)
        for start, stop in zip(self.lists.indptr[terms], self.lists.indptr[terms + 1], strict=True):
            np.add.at(scores, self.lists.indices[start:stop], self.lists.data[start:stop])
        return scores


def _blocks(
    piece: Words, terms: Vocabulary, first: int, pool: ThreadPoolExecutor
) -> Iterator[Block]:
    """Yield the blocks of `piece`, which do not depend on the number of threads."""
    numbers = _numbers(piece, terms)
    starts = range(0, len(piece), DOCUMENTS)
    parts = [piece[start : start + DOCUMENTS] for start in starts]
    for start, (found, *arrays) in zip(starts, pool.map(_counted, parts), strict=True):
        yield Block(first + start, numbers[found], *arrays)


def _numbers(piece: Words, terms: Vocabulary) -> NDArray[np.int32]:
    """Return the ids in `terms` of the vocabulary of `piece`; -1 for words that occur in no
    text."""
    found = np.flatnonzero(np.bincount(piece.rows.tokens, minlength=len(piece.vocabulary)))
    numbers = np.full(len(piece.vocabulary), -1, np.int32)
    numbers[found] = numbered((piece.vocabulary[word] for word in found.tolist()), terms)
    return numbers


def _counted(piece: Words) -> tuple[NDArray[Any], ...]:
    """Return the words that occur, the number of documents of each, documents, and frequencies."""
    from scipy.sparse import csr_array

    ids, offsets = piece.rows.tokens, piece.rows.offsets
    shape = (len(piece), len(piece.vocabulary))
    columns = csr_array((np.ones(len(ids), np.int32), ids, offsets), shape=shape).tocsc()
    columns.sum_duplicates()
    counts = np.diff(columns.indptr).astype(np.int32)
    found = np.flatnonzero(counts)
    return found, counts[found], _small(columns.indices), _small(columns.data)


def _small(values: NDArray[Any]) -> NDArray[np.unsignedinteger[Any]]:
    return values.astype(np.min_scalar_type(int(values.max(initial=0))))


def _filled(
    blocks: Iterable[Block],
    frequencies: NDArray[np.int64],
    lengths: NDArray[np.int64],
    scoring: Scoring,
    pool: ThreadPoolExecutor,
) -> Any:
    """Return the inverted lists of all documents; parts of a block have disjoint terms."""
    offsets = offsets_of(frequencies)
    documents = np.empty(offsets[-1], dtype=np.int32)
    scores = np.empty(offsets[-1], dtype=np.float32)
    starts, mean = offsets[:-1].copy(), lengths.mean()
    rarity = _rarity(frequencies, len(lengths), scoring)

    def fill(part: Block) -> None:
        places = rows_of_runs(starts[part.terms], part.counts)
        documents[places] = rows = part.documents.astype(np.int32) + np.int32(part.first)
        weights = _saturation(part.frequencies, lengths[rows], mean, scoring)
        scores[places] = np.repeat(rarity[part.terms], part.counts) * weights
        starts[part.terms] += part.counts

    for block in blocks:
        deque(pool.map(fill, _parts(block)), maxlen=0)
    return inverted_lists(scores, documents, offsets, len(lengths))


def _parts(block: Block) -> Iterator[Block]:
    """Yield ranges of terms with few entries each: temporary arrays are many times larger."""
    offsets = offsets_of(block.counts)
    bounds = np.unique(np.searchsorted(offsets, np.arange(0, offsets[-1] + PART, PART)))
    for low, high in pairwise(np.minimum(bounds, len(block.terms)).tolist()):
        terms, entries = slice(low, high), slice(offsets[low], offsets[high])
        yield Block(
            block.first, block.terms[terms], block.counts[terms],
            block.documents[entries], block.frequencies[entries],
        )  # fmt: skip


def _rarity(
    frequencies: NDArray[np.int64], n_documents: int, scoring: Scoring
) -> NDArray[np.float32]:
    from bm25s.scoring import _select_idf_scorer

    score = _select_idf_scorer(scoring.method)
    distinct, of_term = np.unique(frequencies, return_inverse=True)
    values = [score(frequency, n_documents) for frequency in distinct.tolist()]
    return np.array(values, dtype=np.float32)[of_term]


def _saturation(
    frequencies: NDArray[Any], lengths: NDArray[np.int64], mean: float, scoring: Scoring
) -> NDArray[np.float64]:
    from bm25s.scoring import _select_tfc_scorer

    score = _select_tfc_scorer(scoring.method)
    tf = frequencies.astype(np.float32)  # bit-identical to bm25s
    found: NDArray[np.float64] = score(tf, lengths, mean, scoring.k1, scoring.b)
    return found
