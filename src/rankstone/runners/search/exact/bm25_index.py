"""Inverted lists of BM25 scores, built from a stream (formulas: bm25s; Lù 2024, arXiv:2407.03618).

The score of every (term, document) pair is computed once, when indexing.
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
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rankstone.runners.protocols import Hits
from rankstone.runners.representations.base import offsets_of, rows_of_runs
from rankstone.runners.representations.words import Words, numbered
from rankstone.runners.saved import SavedIndex
from rankstone.runners.search.exact.inverted_index import inverted_lists
from rankstone.runners.top_k import highest

THREADED_FROM = 64
"""Fewer queries than this are not worth starting threads for."""
PART = 1 << 18
"""Entries whose scores are computed at once."""


class Scoring(NamedTuple):
    """Parameters of the score."""

    k1: float
    b: float
    method: str


class Block(NamedTuple):
    """Occurrences of terms in some consecutive documents, in as few bytes as hold them."""

    first: int
    """Position of the first document."""
    terms: NDArray[np.int32]
    counts: NDArray[np.int32]
    """Documents of each term; below, all of the first term, of the second, and so on."""
    documents: NDArray[np.unsignedinteger[Any]]
    """Counted from `first`, ascending for a term."""
    frequencies: NDArray[np.unsignedinteger[Any]]


class Vocabulary(dict[str, int]):
    """Term -> its number."""

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
    """The scores of every (term, document) pair, by term.

    Sums are in float32, in the order of the query's words.
    """

    lists: Any
    """A scipy ``csc_array``, a column for each term."""
    terms: Vocabulary
    threads: int

    @classmethod
    def build(cls, pieces: Iterable[Words], scoring: Scoring, *, threads: int = 1) -> BM25Index:
        """Read `pieces` once, in order.

        Memory is that of the finished index, of three bytes for each of its entries, which have
        eight, and of one piece.
        """
        terms, blocks, lengths = Vocabulary(), deque[Block](), [np.empty(0, np.int64)]
        position = 0
        for piece in pieces:
            blocks.append(_block(piece, terms, position))
            lengths.append(piece.rows.lengths)
            position += len(piece)
            del piece  # before the next one is read
        lists = _filled(blocks, np.concatenate(lengths), len(terms), scoring)
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
        """(n_documents,) sums over `terms`, each as often as it is there."""
        scores = np.zeros(self.lists.shape[0] if len(terms) else 0, dtype=np.float32)
        for start, stop in zip(self.lists.indptr[terms], self.lists.indptr[terms + 1], strict=True):
            np.add.at(scores, self.lists.indices[start:stop], self.lists.data[start:stop])
        return scores


def _block(piece: Words, terms: Vocabulary, first: int) -> Block:
    from scipy.sparse import csr_array

    ids, offsets = piece.rows.tokens, piece.rows.offsets
    shape = (len(piece), len(piece.vocabulary))
    columns = csr_array((np.ones(len(ids), np.int32), ids, offsets), shape=shape).tocsc()
    columns.sum_duplicates()
    counts = np.diff(columns.indptr).astype(np.int32)
    found = np.flatnonzero(counts)
    words = numbered((piece.vocabulary[word] for word in found.tolist()), terms)
    return Block(first, words, counts[found], _small(columns.indices), _small(columns.data))


def _small(values: NDArray[Any]) -> NDArray[np.unsignedinteger[Any]]:
    return values.astype(np.min_scalar_type(int(values.max(initial=0))))


def _filled(
    blocks: deque[Block], lengths: NDArray[np.int64], n_terms: int, scoring: Scoring
) -> Any:
    """The lists of all documents; `blocks` is emptied, to free memory."""
    frequencies = np.zeros(n_terms, dtype=np.int64)
    for block in blocks:
        frequencies[block.terms] += block.counts
    offsets = offsets_of(frequencies)
    documents = np.empty(offsets[-1], dtype=np.int32)
    scores = np.empty(offsets[-1], dtype=np.float32)
    starts = offsets[:-1].copy()
    rarity = _rarity(frequencies, len(lengths), scoring)
    while blocks:
        for part in _parts(blocks.popleft()):
            places = rows_of_runs(starts[part.terms], part.counts)
            documents[places] = rows = part.documents.astype(np.int32) + np.int32(part.first)
            weights = _saturation(part.frequencies, lengths[rows], lengths.mean(), scoring)
            scores[places] = np.repeat(rarity[part.terms], part.counts) * weights
            starts[part.terms] += part.counts
    return inverted_lists(scores, documents, offsets, len(lengths))


def _parts(block: Block) -> Iterator[Block]:
    """Runs of terms with few entries each, as what is computed from them is many times larger."""
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
    tf = frequencies.astype(np.float32)  # as bm25s, to the last bit
    found: NDArray[np.float64] = score(tf, lengths, mean, scoring.k1, scoring.b)
    return found
