"""Adaptive retrieval: shortlist with few dimensions, re-score with more."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.errors import DefinitionError
from rankstone.runners.protocols import STRICT, Chunks, Context, Hits, Json
from rankstone.runners.representations.pieces import Derived, Positional
from rankstone.runners.saved import SavedIndex
from rankstone.runners.search.base import OverEncoder
from rankstone.runners.search.exact.flat import ExactIndex, Vectors, dense
from rankstone.runners.top_k import beneath

Sizes = Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(strict=False)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Funnel(OverEncoder):
    """A shortlist by the first dimensions, narrowed in stages with more dimensions.

    Kusupati et al.: Matryoshka Representation Learning, NeurIPS 2022, arXiv:2205.13147. All n
    documents are compared by their first ``dims[0]`` dimensions, the best ``shortlists[0]`` of them
    by ``dims[1]``, the best ``shortlists[1]`` of these by ``dims[2]``, and so on. One shortlist is
    the paper's adaptive retrieval, several its funnel retrieval, none is plain truncation.
    Truncated vectors are scaled to unit length if the encoder's are, as by the encoder's own
    `dimensions`.

    A query costs n dims[0] + sum over i of shortlists[i] dims[i + 1] multiply-adds, full search
    n dims[-1]; both follow from the record's parameters and number of documents.

    Memory is n x dims[0] floats. Ties at the last rank of the first stage are broken by faiss,
    later ones by the better rank in the previous stage. Documents that a stage leaves out rank
    below, in the order of the last stage that compared them.
    """

    DESCRIPTION: ClassVar[str] = "exact over the first dimensions, narrowed by more of them"

    dims: Annotated[Sizes, Field(min_length=1)]
    """Dimensions of each stage, ascending."""
    shortlists: Sizes
    """Documents that each stage passes to the next, descending: one fewer than `dims`."""
    resident: bool = False
    """True: keep the vectors for later stages in memory; False: read them from disk."""

    def __post_init__(self) -> None:
        if len(self.dims) != len(self.shortlists) + 1:
            raise DefinitionError(
                f"key 'parameters.shortlists': {len(self.shortlists)} for {len(self.dims)} stages,"
                " expected one for each stage but the last. Correct it."
            )
        if list(self.dims) != sorted(set(self.dims)):
            raise DefinitionError(
                f"key 'parameters.dims': {list(self.dims)} do not ascend. Correct it."
            )
        if list(self.shortlists) != sorted(self.shortlists, reverse=True):
            raise DefinitionError(
                f"key 'parameters.shortlists': {list(self.shortlists)} do not descend. Correct it."
            )

    def describe(self) -> Mapping[str, Json]:
        """Add a query's multiply-adds: per document, and in the later stages."""
        later = sum(size * dim for size, dim in zip(self.shortlists, self.dims[1:], strict=True))
        adds: Json = {"per_document": self.dims[0], "per_query": later}
        return {**super().describe(), "multiply_adds": adds}

    def build(self, documents: Chunks[Any], context: Context) -> FunnelIndex:
        normalize = bool(self.encoder.describe().get("normalized"))
        first = ExactIndex.build(
            Derived(documents, lambda piece, _: cut(self._checked(piece), self.dims[0], normalize))
        )
        rows: Positional | Vectors | None = documents if self.shortlists else None
        if self.resident and self.shortlists:
            pieces = [dense(piece)[:, : self.dims[-1]] for piece in documents]
            rows = np.concatenate(pieces) if pieces else np.empty((0, self.dims[-1]), np.float32)
        return FunnelIndex(first, rows, self.dims, self.shortlists, normalize=normalize)

    def _checked(self, piece: Any) -> Vectors:
        vectors = dense(piece)
        if self.dims[-1] > vectors.shape[1]:
            raise DefinitionError(
                f"key 'parameters.dims': {self.dims[-1]}, but the member's vectors have"
                f" {vectors.shape[1]}. Correct it."
            )
        return vectors


@dataclasses.dataclass(frozen=True, eq=False)
class FunnelIndex(SavedIndex):
    """Truncated vectors of all documents, and full vectors by position."""

    first: ExactIndex
    documents: Positional | Vectors | None
    """Full vectors: an array if they are in memory; None without shortlists."""
    dims: tuple[int, ...]
    shortlists: tuple[int, ...]
    normalize: bool

    def search(self, queries: Vectors, k: int) -> Hits:
        queries = dense(queries)
        asked = [cut(queries, dim, self.normalize) for dim in self.dims]
        if not self.shortlists:
            return self.first.search(asked[0], k)
        found = self.first.search(asked[0], max(k, self.shortlists[0]))
        hits = Hits(found.docs.copy(), found.scores.copy())
        for row, (docs, scores) in enumerate(zip(*hits, strict=True)):
            n_found = int((docs >= 0).sum())
            self._narrow([query[row] for query in asked], docs[:n_found], scores[:n_found])
        return Hits(hits.docs[:, :k], hits.scores[:, :k])

    def _narrow(self, query: list[Vectors], docs: NDArray[np.int64], scores: Vectors) -> None:
        """Sort the results of one query into their final order, in place."""
        vectors = self._vectors(docs[: self.shortlists[0]])
        order = np.arange(len(vectors))
        stages = [scores]
        for asked, size in zip(query[1:], self.shortlists, strict=True):
            best = order[:size]
            given = cut(vectors[best], len(asked), self.normalize) @ asked
            better = np.argsort(-given, kind="stable")
            order[:size] = best[better]
            # The documents of the previous stage that this one did not compare again.
            stages[-1] = stages[-1][len(best) :]
            stages.append(given[better])
        docs[: len(order)] = docs[order]
        written = 0
        for given in reversed(stages):
            floor = scores[written - 1] if written else np.inf
            part = beneath(floor, given) if written else given
            scores[written : written + len(part)] = part
            written += len(part)

    def _vectors(self, positions: NDArray[np.int64]) -> Vectors:
        if isinstance(self.documents, np.ndarray):
            return self.documents[positions]
        if self.documents is None or not len(positions):
            return np.empty((0, self.dims[-1]), np.float32)
        return dense(self.documents.take(positions))


def cut(vectors: Vectors, dim: int, normalize: bool) -> Vectors:
    """Return the first `dim` dimensions, C-contiguous, scaled to unit length with `normalize`."""
    kept = vectors[:, :dim]
    if normalize:
        kept = kept / np.maximum(np.linalg.norm(kept, axis=1, keepdims=True), 1e-12)
    return np.ascontiguousarray(kept, dtype=np.float32)
