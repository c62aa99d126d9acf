"""Exact cosine search over codes with few bits per dimension, by popcounts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from rankstone.runners.protocols import Hits
from rankstone.runners.saved import SavedIndex
from rankstone.runners.search.binary.bit_planes import BitPlanes, Codes
from rankstone.runners.search.binary.popcount_scan import BLOCK, compiled_scan

TILE = 128
"""Queries compared with a block of documents while it is in a core's cache."""


@dataclass(frozen=True, eq=False)
class CodeIndex(SavedIndex):
    """Search by the cosine of the documents' codes and the query's: symmetric distances.

    cos(q, d) = sum_ij 2^-(i+j) (m - 2 popcount(q_i xor d_j)) / (|q| |d|) in float32, which for one
    bit per dimension is 1 - 2 h / m with the Hamming distance h. Lengths follow from the codes and
    are not stored. Ties, also at rank k, go to the lower position.

    A scan computes n m L^2 / 64 popcounts of words per query. Memory is m L / 8 bytes per document,
    with m rounded up to a multiple of 64. Batches of queries are distributed over threads.
    """

    planes: BitPlanes
    blocks: Codes
    n: int
    squares: tuple[float, float]
    """Smallest and largest squared length of a document."""
    threads: int

    @cached_property
    def _scan(self) -> Callable[..., None]:
        return compiled_scan(self.planes.dim, self.planes.levels)

    @classmethod
    def build(cls, planes: BitPlanes, pieces: Iterable[Codes], threads: int = 1) -> CodeIndex:
        """Index codes (n, words, levels) in consecutive pieces."""
        blocks = np.zeros((0, planes.words, planes.levels, BLOCK), dtype=np.uint64)
        n, least, greatest = 0, np.inf, 0.0
        for piece in pieces:
            if not len(piece):
                continue
            at = np.arange(n, n + len(piece))
            n += len(piece)
            # Grown in place, without a second copy of the codes.
            blocks.resize((-(-n // BLOCK), *blocks.shape[1:]), refcheck=False)
            blocks[at // BLOCK, :, :, at % BLOCK] = piece
            squares = planes.squares(piece)
            least = min(least, float(squares.min()))
            greatest = max(greatest, float(squares.max()))
        return cls(planes, blocks, n, (least if n else 0.0, greatest), threads)

    def __len__(self) -> int:
        return self.n

    @staticmethod
    def paper_bytes(n: int, planes: BitPlanes) -> int:
        """Return the bytes of the codes of `n` documents, which are stored in whole blocks."""
        return -(-n // BLOCK) * BLOCK * planes.words * planes.levels * 8

    def search(self, queries: Codes, k: int) -> Hits:
        """`queries`: (n_queries, words, levels) codes."""
        hits, depth = Hits.empty(len(queries), k), min(k, len(self))
        if not depth:
            return hits
        size = max(min(TILE, -(-len(queries) // self.threads)), 1)
        tiles = [slice(at, at + size) for at in range(0, len(queries), size)]
        found: Iterable[Hits]
        if len(tiles) == 1:
            found = [self._best(queries, depth)]
        else:
            with ThreadPoolExecutor(self.threads) as pool:
                found = list(pool.map(lambda rows: self._best(queries[rows], depth), tiles))
        for rows, best in zip(tiles, found, strict=True):
            hits.docs[rows, :depth], hits.scores[rows, :depth] = best
        return hits

    def _best(self, queries: Codes, k: int) -> Hits:
        shape = (len(queries), k)
        docs = np.full(shape, len(self), dtype=np.int64)
        scores = np.full(shape, -np.inf, dtype=np.float32)
        shortest, longest = np.sqrt(self.squares)
        squares = self.planes.squares(queries)
        queries = np.ascontiguousarray(queries)
        self._scan(self.blocks, len(self), queries, squares, shortest, longest, scores, docs)
        order = np.lexsort((docs, -scores))
        return Hits(
            np.take_along_axis(docs, order, axis=1), np.take_along_axis(scores, order, axis=1)
        )
