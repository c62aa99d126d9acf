"""Cosine search over codes of few bits per dimension, exact, by faiss's 4-bit scan.

Four bits of a document are one code of a product quantiser (`BitPlanes.values`); per query, faiss
keeps the 16 table entries of each in registers and adds them up by shuffles (Andre et al., VLDB
2015; `IndexPQFastScan`), in 8 bits per entry. That scan proposes candidates, and only they are
scored exactly. What makes the result exact is a bound on all the others, from the worst candidate;
where the bound does not reach below the k-th score, the query is scanned again for more candidates.
A candidate costs as much as some hundred documents in the scan. Where so many would be needed that
this is dearer, in a small collection or for a long list of results, all documents are scored.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rankstone.runners.protocols import Hits
from rankstone.runners.search.bit_planes import BitPlanes, Codes, Vectors

BLOCK = 64
"""Documents that the scan takes at once; 32, faiss's default, took twice as long."""
ORDER = np.array([0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15])
"""In which order faiss lays 16 documents next to each other."""
SPARE = 128
"""Candidates at least beyond the k that are asked for."""
TYPICAL = 0.35
"""The cosine at which the first scan is most precise; the next one is told."""
GATHERED = 2048
"""Candidates that are scored at once: what that takes fits in a core's cache."""
DECODED = 4096
"""Documents that are decoded at once where all are scored."""
CANDIDATE, DECODING, PRODUCT = 1.2e-6, 4e-7, 2e-8
"""Seconds, roughly, per candidate; per decoded document; and per such document and query."""


class CodeIndex:
    """The documents of highest cosine between their codes and the query's: symmetric distances.

    cos(q, d) = sum_ij 2^-(i+j) (m - 2 popcount(q_i xor d_j)) / (|q| |d|), which for one bit per
    dimension is 1 - 2 / m of the Hamming distance. Lengths follow from the codes and are not
    stored. Ties, also across the cut at k, go to the lower position.

    A scan costs n m L / 4 additions of bytes per query. Resident are m L / 8 bytes per document.
    """

    def __init__(self, planes: BitPlanes, scanner: Any, squares: tuple[float, float]) -> None:
        """Use `build` or `load`. `squares`: least and greatest squared length of a document."""
        self.planes = planes
        self._scanner = scanner
        self._squares = squares

    @classmethod
    def build(cls, planes: BitPlanes, pieces: Iterable[Codes]) -> CodeIndex:
        """Over codes (n, planes.n_bytes) in consecutive pieces."""
        codes = np.concatenate([np.empty((0, planes.n_bytes), np.uint8), *pieces])
        squares = (1.0, 1.0)
        if len(codes):
            lengths = [planes.squares(codes[at : at + 4096]) for at in range(0, len(codes), 4096)]
            squares = (float(min(map(np.min, lengths))), float(max(map(np.max, lengths))))
        return cls(planes, _scanner(planes, laid_out(codes), len(codes)), squares)

    def __len__(self) -> int:
        return int(self._scanner.ntotal)

    def search(self, queries: Codes, k: int) -> Hits:
        """`queries`: (n_queries, n_bytes) codes."""
        shape = (len(queries), k)
        hits = Hits(np.full(shape, -1, dtype=np.int64), np.full(shape, -np.inf, dtype=np.float32))
        depth = min(k, len(self))
        open_rows = np.arange(len(queries) if depth else 0)
        n_candidates = depth + max(SPARE, depth // 4)
        aims = np.full(len(queries), TYPICAL)
        while len(open_rows):
            found, others = self._round(queries[open_rows], n_candidates, aims[open_rows], depth)
            hits.docs[open_rows, :depth], hits.scores[open_rows, :depth] = found
            aims[open_rows] = found.scores[:, -1]
            open_rows = open_rows[others >= found.scores[:, -1]]
            n_candidates *= 2
        return hits

    def _round(
        self, queries: Codes, n: int, aims: NDArray[np.float64], k: int
    ) -> tuple[Hits, NDArray[np.float64]]:
        """The best `k` of `n` candidates, or of all, and a cosine that no other exceeds."""
        rows = len(queries)
        everything = len(self) * (DECODING + rows * PRODUCT)
        if n >= len(self) or rows * n * CANDIDATE > everything:
            return self._best_of_all(queries, k), np.full(rows, -np.inf)
        candidates, others = self._scan(queries, n, aims)
        return self._best(queries, candidates, k), others

    def _scan(
        self, queries: Codes, n: int, aims: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """(n_queries, n) candidates, and a cosine that no other document exceeds.

        The scan orders by |t q - d|^2, which near the cosine c is the order of cosines if
        t = |d| / (c |q|): what is gained by a longer d is then as much as dividing by it takes.
        For others than candidates, that distance is at least that of the worst candidate but for
        the rounding of table entries, so q.d <= (A + |d|^2) / 2t with a constant A, and what this
        is divided by |d| has its maximum at the least or the greatest |d|.
        """
        vectors, squares = self.planes.decode(queries), self.planes.squares(queries)
        lengths, typical = np.sqrt(squares), float(np.sqrt(np.mean(self._squares)))
        scales = typical / (np.maximum(aims, 0.1) * lengths)
        scaled = np.zeros((len(queries), self.planes.dim_stored), dtype=np.float32)
        scaled[:, : self.planes.dim] = vectors * scales[:, None]
        distances, found = self._scanner.search(scaled, n)
        filling = self.planes.dim_stored - self.planes.dim
        worst = distances[:, -1] - filling * float(self.planes.values.max()) ** 2
        constant = scales**2 * squares - worst + self._rounding(scales)
        products = [(constant + end) / np.sqrt(end) for end in self._squares]
        return found, np.maximum(*products) / (2 * scales * lengths)

    def _rounding(self, scales: NDArray[np.float64]) -> NDArray[np.float64]:
        """How far faiss's distances may be from true ones.

        Entries are rounded to a step of which 255 cover the widest table, or wider ones where the
        sum of all tables would not fit in 65,535.
        """
        highest, n_tables = float(self.planes.values.max()), 2 * self.planes.n_bytes
        widest = self.planes.group * 4 * scales * highest**2
        steps = widest * max(1 / 255, n_tables / 65535)
        rounding: NDArray[np.float64] = 0.5 * (n_tables + 2) * steps
        return rounding

    def _best(self, queries: Codes, candidates: NDArray[np.int64], k: int) -> Hits:
        """The exact order of the best `k` of each query's candidates."""
        shape = (len(queries), k)
        best = Hits(np.empty(shape, dtype=np.int64), np.empty(shape, dtype=np.float32))
        step = max(GATHERED // candidates.shape[1], 1)
        for start in range(0, len(queries), step):
            rows = slice(start, start + step)
            found = np.sort(candidates[rows], axis=1)
            cosines = self._cosines(queries[rows], found)
            order = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
            best.docs[rows] = np.take_along_axis(found, order, axis=1)
            best.scores[rows] = np.take_along_axis(cosines, order, axis=1)
        return best

    def _best_of_all(self, queries: Codes, k: int) -> Hits:
        """The best `k` of all documents, which are decoded and multiplied with the queries.

        Products of codes are exact in float32, so the scores are those of `_cosines` to the bit.
        """
        vectors, squares = self.planes.decode(queries), self.planes.squares(queries)[:, None]
        shape = (len(queries), k)
        best = Hits(np.zeros(shape, dtype=np.int64), np.full(shape, -np.inf, dtype=np.float32))
        for start in range(0, len(self), DECODED):
            codes = self._codes(np.arange(start, min(start + DECODED, len(self))))
            products = vectors @ self.planes.decode(codes).T
            cosines = products / np.sqrt(squares * self.planes.squares(codes))
            for row, scores in enumerate(cosines):
                # Those kept so far stand first, so they win ties with what comes later.
                kept = np.concatenate([best.scores[row], scores])
                order = first_highest(kept, k)
                later = order - k + start
                best.docs[row] = np.where(order < k, best.docs[row].take(order, mode="clip"), later)
                best.scores[row] = kept[order]
        return best

    def _cosines(self, queries: Codes, docs: NDArray[np.int64]) -> Vectors:
        codes = self._codes(docs)
        squares = self.planes.squares(queries)[:, None] * self.planes.squares(codes)
        cosines: Vectors = self.planes.products(queries[:, None], codes) / np.sqrt(squares)
        return cosines

    def _codes(self, docs: NDArray[np.int64]) -> Codes:
        """The codes of documents, out of what the scan reads: nothing is stored twice."""
        return picked(_bytes(self._scanner), docs, self.planes.n_bytes)

    def save(self, folder: Path) -> None:
        np.save(folder / "codes.npy", _bytes(self._scanner))
        about = Saved(self.planes.dim, self.planes.levels, len(self), self._squares)
        (folder / "codes.json").write_text(json.dumps(about._asdict()))

    @classmethod
    def load(cls, folder: Path) -> CodeIndex:
        about = Saved(**json.loads((folder / "codes.json").read_text()))
        planes = BitPlanes(about.dim, about.levels)
        scanner = _scanner(planes, np.load(folder / "codes.npy"), about.documents)
        return cls(planes, scanner, (about.squares[0], about.squares[1]))

    def nbytes(self) -> int:
        """The codes, in blocks of 64 documents, and the quantiser's centroids."""
        return int(self._scanner.codes.size() + self._scanner.pq.centroids.size() * 4)


class Saved(NamedTuple):
    """`codes.json`."""

    dim: int
    levels: int
    documents: int
    squares: tuple[float, float]


def first_highest(scores: Vectors, k: int) -> NDArray[np.int64]:
    """Positions of the `k` highest, best first; ties, also across the cut, to the lower ones."""
    cut = np.partition(scores, len(scores) - k)[len(scores) - k]
    above = np.flatnonzero(scores > cut)
    kept = np.concatenate([above, np.flatnonzero(scores == cut)[: k - len(above)]])
    return kept[np.argsort(-scores[kept], kind="stable")]


def laid_out(codes: Codes) -> Codes:
    """`codes` (n, n_bytes) as faiss scans them: blocks of 64 documents, byte position by position.

    In a block and of each position: two times 16 bytes, for the low four bits of 32 documents, in
    `ORDER`, the second 16 of them in the high half, then the same for the position's high four
    bits; and all this again for the other 32 documents.
    """
    n, n_bytes = codes.shape
    n_blocks = -(-n // BLOCK)
    laid = np.empty((n_blocks, n_bytes, BLOCK // 32, 2, 16), dtype=np.uint8)
    for start in range(0, n_blocks, 64):
        part = codes[start * BLOCK : (start + 64) * BLOCK]
        filled = np.zeros((-(-len(part) // BLOCK) * BLOCK, n_bytes), dtype=np.uint8)
        filled[: len(part)] = part
        halves = filled.reshape(-1, BLOCK // 32, 2, 16, n_bytes)[:, :, :, ORDER]
        for half, fours in enumerate((halves & 15, halves >> 4)):
            joined = fours[:, :, 0] | fours[:, :, 1] << 4
            laid[start : start + 64, :, :, half] = joined.transpose(0, 3, 1, 2)
    return laid.reshape(-1)


def picked(laid: Codes, docs: NDArray[np.int64], n_bytes: int) -> Codes:
    """(..., n_bytes) codes of the documents at `docs` (...), as they were before `laid_out`."""
    within = docs % BLOCK
    first = docs // BLOCK * (n_bytes * BLOCK) + within // 32 * 32 + np.argsort(ORDER)[within % 16]
    places = first[..., None] + np.arange(n_bytes) * BLOCK
    shifts = (within % 32 // 16 * 4).astype(np.uint8)[..., None]
    low, high = (laid.take(places + half * 16) >> shifts & np.uint8(15) for half in range(2))
    codes: Codes = low | high << np.uint8(4)
    return codes


def _scanner(planes: BitPlanes, laid: Codes, n: int) -> Any:
    """faiss's index around codes that are laid out already."""
    import faiss

    n_tables = 2 * planes.n_bytes
    scanner: Any = faiss.IndexPQFastScan(planes.dim_stored, n_tables, 4, faiss.METRIC_L2, BLOCK)
    faiss.copy_array_to_vector(np.tile(planes.values, (n_tables, 1)).ravel(), scanner.pq.centroids)
    scanner.is_trained = True
    scanner.codes.resize(len(laid))
    if len(laid):
        _bytes(scanner)[:] = laid
    scanner.ntotal, scanner.ntotal2 = n, -(-n // BLOCK) * BLOCK
    return scanner


def _bytes(scanner: Any) -> Codes:
    """The scanned codes themselves, not a copy."""
    import faiss

    size = scanner.codes.size()
    if not size:
        return np.empty(0, dtype=np.uint8)
    view: Codes = faiss.rev_swig_ptr(scanner.codes.get(), size)
    return view
