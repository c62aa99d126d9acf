"""Long documents with any method: split into chunks that are encoded as documents."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.errors import DefinitionError
from rankstone.runners.compose.passages import Passages
from rankstone.runners.document_length import Words, ruler
from rankstone.runners.members import ByMember, OneMember
from rankstone.runners.protocols import STRICT, AnyIndex, Chunks, Context, Hits, Json, Role
from rankstone.runners.representations.base import take
from rankstone.runners.representations.pieces import Derived
from rankstone.runners.representations.ragged import Ragged
from rankstone.runners.saved import SavedIndex
from rankstone.runners.search.hits import checked

CELLS = 2**22
"""Chunks retrieved at once, over all queries: their positions and scores take 48 MiB."""

Ids = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ChunkedEncoder(ByMember):
    """Documents of any length, for a method with a limited input length.

    A document is split into chunks within the member's limit, and each is encoded as a document.
    `max`: a document's score is that of its best chunk (MaxP of Dai and Callan, Deeper Text
    Understanding for IR with Contextual Neural Language Modeling, SIGIR 2019), with any member's
    index. `mean`: its vector is the mean of its chunks' vectors, of unit length if the member's
    are. `first`: only the first chunk is used (FirstP of the same paper).

    Queries are encoded by the member. Ties at rank k are broken as the member's index breaks
    those of chunks. Methods with the same member and chunk size share the encoded chunks, whether
    they take the maximum or the mean.
    """

    members: OneMember
    """The method that encodes the chunks."""
    aggregate: Literal["first", "max", "mean"]
    chunk_tokens: Annotated[int, Field(ge=1)] | None = None
    """Most units of a chunk, including all that the member adds; None: the member's own limit.
    Units are the member's tokens if it has a tokenizer, else words."""
    overlap: Annotated[int, Field(ge=0)] = 0
    """Most units that a chunk shares with the next one."""

    def __post_init__(self) -> None:
        stated = self.chunk_tokens is not None or self.overlap > 0
        if stated or isinstance(ruler(self._member), Words):
            _ = self._limit  # check now; the member's own limit would load its model

    @cached_property
    def _limit(self) -> int:
        """Most units of a chunk; DefinitionError if it exceeds the member's limit."""
        own, stated = ruler(self._member), self.chunk_tokens
        limit = stated or own.limit
        if limit is None:
            raise DefinitionError(
                "missing key 'parameters.chunk_tokens': the member has no limit of its own. Add it:"
                f" {own.unit} per chunk."
            )
        if stated is not None and own.limit is not None and stated > own.limit:
            raise DefinitionError(
                f"key 'parameters.chunk_tokens': {stated}, but the member would truncate chunks at"
                f" {own.limit} {own.unit}. State no more, or leave it out."
            )
        if 2 * self.overlap > limit:
            raise DefinitionError(
                f"key 'parameters.overlap': {self.overlap} is more than half of a chunk. Lower it."
            )
        return limit

    def describe(self) -> Mapping[str, Json]:
        own, index = self._passages.describe(), self._member.describe().get("index")
        chunked = f"chunks, {index}" if isinstance(index, str) else {"of": "chunks", "by": index}
        return {**own, "aggregate": self.aggregate, "index": chunked}

    def encode(self, texts: Sequence[str], role: Role) -> Any:
        encoded = super().encode(texts, role)
        return encoded if role == "query" else self._of_documents(encoded)

    def index(self, documents: Chunks[Any], context: Context) -> AnyIndex:
        """Index the chunks as encoded by `context`; `documents` is never read."""
        passages: Chunks[Ragged] = context.encoded(self._passages)
        if self.aggregate != "max":
            changed = Derived(passages, lambda piece, _: self._of_documents(piece))
            return self._member_index(changed, context)
        chunks = _EveryChunk(passages)
        index = checked(self._member_index(chunks, context), chunks)
        return BestChunkIndex(index, chunks.offsets)

    def _member_index(self, chunks: Any, context: Context) -> AnyIndex:
        alone: Any = _ChunkContext(context, self._encoder, chunks)
        index: AnyIndex = self._member.index(chunks, alone)
        return index

    def reader(self, role: Role) -> Any:
        return self._member if role == "query" else self._passages

    def _of_documents(self, rep: Ragged) -> Any:
        """Return the documents' representations for the index, from those of their chunks."""
        if self.aggregate == "max":
            return rep
        if self.aggregate == "first":
            return rep.tokens
        if not isinstance(rep.tokens, np.ndarray) or rep.tokens.ndim != 2:
            raise DefinitionError(
                "key 'parameters.aggregate': only vectors have a mean, and the member makes"
                f' {type(rep.tokens).__name__}. Take "max".'
            )
        return mean_vectors(rep, normalize=bool(self._member.describe().get("normalized")))

    @property
    def _member(self) -> Any:
        return self.members[0]

    @property
    def _encoder(self) -> Any:
        """The encoder of the chunks: the member, or the encoder that the member searches with."""
        return getattr(self._member, "encoder", self._member)

    @cached_property
    def _passages(self) -> Any:
        return Passages(
            members=(self._encoder,),
            limit=self._limit,
            overlap=self.overlap,
            first=self.aggregate == "first",
        )


def mean_vectors(rep: Ragged, *, normalize: bool) -> NDArray[np.float32]:
    """Return the (n, dim) means of each document's vectors, at least one per document."""
    if not len(rep):
        return np.empty((0, rep.dim), dtype=np.float32)
    sums: Any = np.add.reduceat(np.asarray(rep.tokens, dtype=np.float32), rep.offsets[:-1], axis=0)
    means: NDArray[np.float32] = sums / rep.lengths[:, None].astype(np.float32)
    if normalize:
        means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    return means


@dataclasses.dataclass(frozen=True, eq=False)
class BestChunkIndex(SavedIndex):
    """A member's index over all chunks; a document has the score of its best chunk.

    Exact if the member's index is: the depth of the chunk search is raised until `k` documents are
    found or no chunks are left, so that no document that was not found has a higher score.
    """

    chunks: AnyIndex
    offsets: Ids
    """Document i has the chunks ``offsets[i]:offsets[i + 1]``."""

    @cached_property
    def _owners(self) -> Ids:
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))

    def search(self, queries: Any, k: int) -> Hits:
        hits = Hits.empty(len(queries), k)
        n_documents, n_chunks = len(self.offsets) - 1, len(self._owners)
        wanted = min(k, n_documents)
        depth = min(wanted * -(-n_chunks // max(n_documents, 1)), n_chunks)
        rows = np.arange(len(queries) if wanted else 0)
        while len(rows):
            parts = np.split(rows, range(max(CELLS // depth, 1), len(rows), max(CELLS // depth, 1)))
            lacking = [self._fill(hits, part, queries, depth, wanted) for part in parts]
            rows = np.concatenate(lacking) if depth < n_chunks else rows[:0]
            depth = min(2 * depth, n_chunks)
        return hits

    def _fill(self, hits: Hits, rows: Ids, queries: Any, depth: int, wanted: int) -> Ids:
        """Write the documents of the `depth` best chunks; return the rows with fewer than
        `wanted`."""
        found = self.chunks.search(take(queries, rows), depth)
        exhausted = (found.docs < 0).any(axis=1)
        row, column = np.nonzero(found.docs >= 0)
        keys = row * (len(self.offsets) - 1) + self._owners[found.docs[row, column]]
        # Chunks come best first, so the first of a document is its best.
        _, firsts = np.unique(keys, return_index=True)
        firsts.sort()
        row, column, owner = row[firsts], column[firsts], keys[firsts] % (len(self.offsets) - 1)
        place = np.arange(len(row)) - np.searchsorted(row, np.arange(len(rows)))[row]
        kept = place < hits.docs.shape[1]
        where = rows[row[kept]], place[kept]
        hits.docs[where] = owner[kept]
        hits.scores[where] = found.scores[row[kept], column[kept]]
        return rows[~exhausted & (np.bincount(row, minlength=len(rows)) < wanted)]

    def nbytes(self) -> int:
        return super().nbytes() + self._owners.nbytes


class _EveryChunk:
    """Chunks of all documents, as a corpus."""

    def __init__(self, documents: Chunks[Ragged]) -> None:
        self._documents = documents
        self._seen: list[Ids] | None = None

    @property
    def offsets(self) -> Ids:
        """Offsets of the documents; known once the chunks have been read."""
        if self._seen is None:
            for _ in self:
                pass
        return np.cumsum(np.concatenate([[0], *(self._seen or [])]), dtype=np.int64)

    def __len__(self) -> int:
        return int(self.offsets[-1])

    def __iter__(self) -> Iterator[Any]:
        seen: list[Ids] = []
        for piece in self._documents:
            seen.append(piece.lengths)
            yield piece.tokens
        self._seen = seen

    def take(self, positions: Ids) -> Any:
        offsets = self.offsets
        owners, inverse = np.unique(
            np.searchsorted(offsets, positions, side="right") - 1, return_inverse=True
        )
        rep = self._documents.take(owners)
        return take(rep.tokens, rep.offsets[inverse] + positions - offsets[owners[inverse]])

    def sample(self, n: int, seed: int) -> Any:
        chosen = np.random.default_rng(seed).choice(len(self), min(n, len(self)), replace=False)
        return self.take(np.sort(chosen))


class _ChunkContext:
    """Context of a member over chunks, without whole-document data."""

    def __init__(self, context: Context, encoder: Any, chunks: Any) -> None:
        """`chunks`: the representations of the chunks by `encoder`."""
        self._context, self._encoder, self._chunks = context, encoder, chunks

    def encoded(self, runner: Any) -> Any:
        if runner is self._encoder:
            return self._chunks
        raise _whole_documents()

    @property
    def columns(self) -> Mapping[str, Any]:
        """Columns of the documents, unless these have several vectors each."""
        return {} if isinstance(self._chunks, _EveryChunk) else self._context.columns

    def __getattr__(self, name: str) -> Any:
        if name in ("texts", "train_judgements"):
            raise _whole_documents()
        return getattr(self._context, name)


def _whole_documents() -> DefinitionError:
    return DefinitionError(
        "key 'members': this member reads texts, judgements or other methods' encodings by"
        " position, and chunks have none. Chunk its members instead."
    )
