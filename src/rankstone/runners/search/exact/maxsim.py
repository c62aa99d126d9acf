"""Exact late interaction: MaxSim with every document."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Sized
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from rankstone.errors import AdapterError
from rankstone.profiling.memory import resident_limit
from rankstone.runners.protocols import Hits
from rankstone.runners.representations.base import concatenate, pack, take
from rankstone.runners.representations.pieces import Stored
from rankstone.runners.representations.ragged import Ragged, decoded
from rankstone.runners.search.exact.flat import FROM_DISK
from rankstone.runners.top_k import merged

BLOCK_BYTES = 64 * 2**20
"""Bytes of document vectors, as float32, per block, which is converted at once for queries of more
than one tile."""
TILE_QUERY_VECTORS = 512
"""Query vectors multiplied at once, unless a single query has more."""
TILE_PRODUCTS = 2**19
"""Products computed at once, of which only the maxima are kept: 2 MiB stay in the cache."""
TILE_BYTES = 2**20
"""Bytes of document vectors multiplied at once, which stay in the cache beside the products."""


class Pieces(Sized, Iterable[Ragged], Protocol):
    """Vectors of documents as consecutive pieces; re-iterable."""


class Group(NamedTuple):
    """Documents of similar length, padded to it by repeating their last vector."""

    length: int
    vectors: Any
    """(n_docs * length, dim) in the stored precision."""

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in pack(self.vectors).arrays.values())


class Block(NamedTuple):
    """Consecutive documents, laid out so that the maximum over a document is along one axis."""

    start: int
    """Position of the first document."""
    size: int
    """Number of documents, including those without vectors."""
    order: NDArray[np.int64]
    """Documents with vectors, sorted by length, relative to `start`."""
    groups: list[Group]
    """Groups, in that order."""

    @property
    def nbytes(self) -> int:
        return sum(group.nbytes for group in self.groups)

    def converted(self) -> Block:
        """Return the block with vectors in float32."""
        groups = [Group(length, _floats(rows).numpy()) for length, rows in self.groups]
        return self._replace(groups=groups)


class Tile(NamedTuple):
    """A batch of queries, as the right-hand side of matrix products."""

    rows: NDArray[np.int64]
    """Row numbers of the queries."""
    vectors: Any
    """torch.Tensor (dim, n_vectors) float32."""
    sums: Any
    """torch.Tensor (n_vectors, n_queries) float32: 1 if the vector belongs to the query, else 0."""


class MaxSimIndex:
    """Brute-force search by score(Q, D) = sum over q in Q of max over d in D of <q, d>.

    ColBERT's MaxSim (Khattab and Zaharia, SIGIR 2020, equation 3), also called Chamfer similarity,
    with all documents and in float32 arithmetic for any stored precision. Ties at rank k go to the
    lower position. A document without vectors is never found, and a query without vectors finds
    nothing.
    """

    DESCRIPTION = "exact MaxSim, torch in blocks of documents of one length"

    def __init__(self, documents: Pieces, *, dim: int, nbytes: int, resident: list[Block] | None):
        """Use `build` or `load`. `resident`: all of `documents`, if they are in memory."""
        self._documents = documents
        self._dim = dim
        self._nbytes = nbytes
        self._resident = resident

    @classmethod
    def build(cls, documents: Pieces) -> MaxSimIndex:
        """Read `documents` once, which encodes missing shards, and check every vector.

        Vectors are laid out once and kept in memory, in their stored precision, if they take at
        most half of the available memory; else every search lays them out again. Raises
        AdapterError for NaN or infinite values, or vectors of different lengths.
        """
        kept: list[Block] | None = []
        limit = resident_limit()
        dim = size = largest = 0
        for start, part in _parts(documents):
            where = f"documents from position {start}"
            check_dim(part, dim, where)
            block, dim = _laid_out(start, part), part.dim
            _check_finite([_floats(group.vectors) for group in block.groups], where)
            size, largest = size + block.nbytes, max(largest, block.nbytes)
            kept = None if kept is None or size > limit else [*kept, block]
        nbytes = largest if kept is None else size
        return cls(documents, dim=dim, nbytes=nbytes, resident=kept)

    def search(self, queries: Ragged, k: int) -> Hits:
        check_dim(queries, self._dim, "queries")
        best = Best(len(queries), k)
        tiles = list(query_tiles(queries))
        _check_finite([tile.vectors for tile in tiles], "queries")
        for block in self._blocks() if tiles else ():
            block = block.converted() if len(tiles) > 1 else block
            for tile in tiles:
                best.merge(tile.rows, _scores(block, tile), block.start)
        return best.hits

    def _blocks(self) -> Iterable[Block]:
        if self._resident is not None:
            return self._resident
        return (_laid_out(start, part) for start, part in _parts(self._documents))

    def save(self, folder: Path) -> None:
        """Save the vectors in their stored precision, one file per array of a block."""
        Stored.write(folder, (part for _, part in _parts(self._documents)))

    @classmethod
    def load(cls, folder: Path) -> MaxSimIndex:
        return cls.build(Stored(folder))

    def notes(self) -> Sequence[str]:
        """Return a note if vectors are read from disk at every search."""
        return () if self._resident is not None else (FROM_DISK,)

    def nbytes(self) -> int:
        """Return the bytes of the vectors if in memory, else of the largest block."""
        return self._nbytes


class Best:
    """Running top k of each query. Blocks must be merged in corpus order."""

    def __init__(self, n_queries: int, k: int) -> None:
        self.hits = Hits.empty(n_queries, k)

    def merge(self, rows: NDArray[np.int64], scores: NDArray[np.float32], start: int) -> None:
        """Merge (len(rows), n_docs) scores, -inf for undefined, of documents from `start` on."""
        docs = np.broadcast_to(start + np.arange(scores.shape[1]), scores.shape)
        so_far = Hits(self.hits.docs[rows], self.hits.scores[rows])
        best = merged(so_far, Hits(docs, scores), self.hits.docs.shape[1])
        self.hits.docs[rows], self.hits.scores[rows] = best


def _parts(pieces: Pieces) -> Iterator[tuple[int, Ragged]]:
    """Yield consecutive (position of the first document, documents of about BLOCK_BYTES)."""
    start, n_vectors, waiting = 0, 0, list[Ragged]()
    for piece in pieces:
        most = max(BLOCK_BYTES // (4 * piece.dim), 1)
        for part in runs(piece, most):
            if waiting and n_vectors + len(part.tokens) > most:
                yield start, concatenate(waiting)
                start, n_vectors, waiting = start + sum(map(len, waiting)), 0, []
            waiting.append(part)
            n_vectors += len(part.tokens)
    if waiting:
        yield start, concatenate(waiting)


def runs(texts: Ragged, most: int) -> Iterator[Ragged]:
    """Yield consecutive texts with at most `most` vectors in total, or a single text with more."""
    start = 0
    while start < len(texts):
        limit = texts.offsets[start] + most
        stop = int(np.searchsorted(texts.offsets, limit, side="right")) - 1
        stop = max(stop, start + 1)
        yield texts[start:stop]
        start = stop


def _laid_out(start: int, part: Ragged) -> Block:
    order = np.argsort(part.lengths, kind="stable")
    order = order[part.lengths[order] > 0]
    rounded = _rounded(part.lengths[order])
    groups = []
    for docs in np.split(order, np.flatnonzero(np.diff(rounded)) + 1) if len(order) else ():
        length = int(_rounded(part.lengths[docs[-1:]])[0])
        steps = np.minimum(np.arange(length), part.lengths[docs, None] - 1)
        rows = take(part.tokens, (part.offsets[docs, None] + steps).ravel())
        groups.append(Group(length, rows))
    return Block(start, len(part), order, groups)


def _floats(rows: Any) -> Any:
    """Return a torch.Tensor (n, dim) float32, without a copy if `rows` is float32."""
    import torch

    return torch.from_numpy(decoded(rows)).float()


def _rounded(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Round up to at most 16 lengths per power of two: few groups, with about 3% padding."""
    steps = 2 ** np.maximum(np.log2(lengths).astype(np.int64) - 4, 0)
    rounded: NDArray[np.int64] = -(-lengths // steps) * steps
    return rounded


def query_tiles(queries: Ragged) -> Iterator[Tile]:
    """Yield all queries that have vectors."""
    import torch

    asked = np.flatnonzero(queries.lengths)
    done = 0
    for part in runs(take(queries, asked), TILE_QUERY_VECTORS):
        vectors = torch.from_numpy(np.array(decoded(part.tokens), dtype=np.float32))
        sums = np.repeat(np.eye(len(part), dtype=np.float32), part.lengths, axis=0)
        rows = asked[done : done + len(part)]
        yield Tile(rows, vectors.T.contiguous(), torch.from_numpy(sums))
        done += len(part)


def _scores(block: Block, tile: Tile) -> NDArray[np.float32]:
    """Return (n_queries, block.size) scores; -inf for documents without vectors."""
    import torch

    dim, width = tile.vectors.shape
    maxima = torch.empty((len(block.order), width))
    done = 0
    with torch.inference_mode():
        for length, rows in block.groups:
            step = max(min(TILE_PRODUCTS // width, TILE_BYTES // (4 * dim)) // length, 1) * length
            for first in range(0, len(rows), step):
                docs = _floats(rows[first : first + step])
                docs.sum()  # prefetches into the cache, which a narrow product does slowly
                n_docs = len(docs) // length
                torch.amax(
                    torch.mm(docs, tile.vectors).view(n_docs, length, width),
                    dim=1,
                    out=maxima[done : done + n_docs],
                )
                done += n_docs
        found = (maxima @ tile.sums).numpy()
    scores = np.full((len(tile.rows), block.size), -np.inf, dtype=np.float32)
    scores[:, block.order] = found.T
    return scores


def check_dim(part: Ragged, dim: int, where: str) -> None:
    """Raise AdapterError unless vectors have `dim` dimensions, if that is known."""
    if dim and len(part) and part.dim != dim:
        raise AdapterError(
            f"{where}: expected vectors of {dim} dimensions, found {part.dim}."
            " The encoder must give all texts vectors of the same dimension."
        )


def _check_finite(tensors: list[Any], where: str) -> None:
    # Minimum and maximum are NaN if any value is; this needs no mask of the tensor's size.
    if not all(extreme.isfinite() for tensor in tensors for extreme in tensor.aminmax()):
        raise AdapterError(
            f"{where}: vectors hold NaN or infinite values: the encoder is at fault."
        )
