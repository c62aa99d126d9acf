"""The single-vector heuristic: every token of a query searches the tokens of all documents."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.runners.protocols import STRICT, AnyIndex, Chunks, Context, Hits
from rankstone.runners.representations.ragged import Ragged
from rankstone.runners.saved import SavedIndex
from rankstone.runners.search.exact.flat import ExactIndex
from rankstone.runners.search.exact.maxsim import runs
from rankstone.runners.search.faiss.graph import WithGraph
from rankstone.runners.search.multi_vector.token_vectors import Floats, float_tokens, parts

PAIRS = 2**20
"""Retrieved tokens merged at once."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SingleVector(WithGraph):
    """Documents of the nearest token of each query token, then of the second nearest, and so on.

    The candidates of ColBERT's end-to-end retrieval (Khattab and Zaharia, SIGIR 2020, section 3.6)
    in the order of MUVERA's baseline (arXiv:2405.19504, section 3.1): each token of a query
    retrieves the `depth` tokens of highest inner product among those of all documents; the list has
    rank 1 of every query token in order, then rank 2, and so on, each document once. So fewer than
    k documents may be found, and a score is the negative rank in that list. With `rescore = n` the
    first n are re-scored by exact MaxSim.

    Exact search compares each token of a query with every token of every document, of 4 d bytes
    each if they fit in memory. Ties of tokens are broken by faiss. A document without tokens is
    never found, and a query without tokens finds nothing.
    """

    DESCRIPTION: ClassVar[str] = "documents of the nearest tokens of each query token"
    requires: ClassVar[Mapping[str, str]] = {"faiss": "ann"}

    depth: Annotated[int, Field(ge=1)] = 1000
    """Tokens that each token of a query retrieves."""
    search: Literal["exact", "hnsw"] = "exact"
    """Search over tokens: exact, or an HNSW graph."""

    def build(self, documents: Chunks[Ragged], context: Context) -> AnyIndex:
        rows = TokenRows.over(documents)
        tokens: AnyIndex
        if self.search == "exact" or not len(rows):
            tokens = ExactIndex.build(rows)
        else:
            tokens = self.graph(rows, rows.dim, context)
        return SingleVectorIndex(tokens, rows.ends, dim=rows.dim, depth=self.depth)


class TokenRows:
    """Tokens of all documents as float32 vectors, decoded on every iteration."""

    def __init__(self, documents: Chunks[Ragged], ends: NDArray[np.int64], dim: int) -> None:
        """Use `over`. `ends`: for each document, the row after its last token."""
        self._documents = documents
        self.ends = ends
        self.dim = dim

    @classmethod
    def over(cls, documents: Chunks[Ragged]) -> TokenRows:
        """Read the number of tokens of the documents; encodes missing shards."""
        lengths, dim = [np.empty(0, np.int64)], 0
        for piece in documents:
            lengths.append(piece.lengths)
            dim = dim or (piece.dim if len(piece.tokens) else 0)
        return cls(documents, np.cumsum(np.concatenate(lengths)), dim)

    def __len__(self) -> int:
        return int(self.ends[-1]) if len(self.ends) else 0

    def __iter__(self) -> Iterator[Floats]:
        for where, part in parts(self._documents):
            tokens = float_tokens(part, self.dim, where)
            if len(tokens):
                yield tokens


@dataclasses.dataclass(frozen=True, eq=False)
class SingleVectorIndex(SavedIndex):
    """Index of tokens, with the document of each."""

    tokens: AnyIndex
    ends: NDArray[np.int64]
    """For each document, the row after its last token."""
    dim: int
    depth: int

    def search(self, queries: Ragged, k: int) -> Hits:
        hits = Hits.empty(len(queries), k)
        if not self.dim:
            return hits
        row = 0
        for part in runs(queries, max(PAIRS // self.depth, 1)):
            found = self.tokens.search(float_tokens(part, self.dim, "queries"), self.depth)
            owners = np.searchsorted(self.ends, found.docs, side="right")
            owners[found.docs < 0] = -1
            for start, stop in pairwise(part.offsets):
                docs = _rank_by_rank(owners[start:stop])[:k]
                hits.docs[row, : len(docs)] = docs
                hits.scores[row, : len(docs)] = -np.arange(len(docs), dtype=np.float32)
                row += 1
        return hits


def _rank_by_rank(owners: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the documents of (n_tokens, depth) tokens by rank, then by query token, each once.

    -1 is none.
    """
    docs = owners.T.ravel()
    docs = docs[docs >= 0]
    _, firsts = np.unique(docs, return_index=True)
    return docs[np.sort(firsts)]
