"""Checks of hits: those of a method, and those of a composite's members from other packages."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sized
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rankstone.arrays import Flags, Ints
from rankstone.errors import AdapterError
from rankstone.runners.protocols import AnyIndex, AnyRunner, Context, Hits
from rankstone.runners.saved import SavedIndex

BLOCK_ROWS = 256
"""Number of rows checked at once, so that the working set fits a core's cache at depth 1,000."""
OWN = "rankstone."
"""Start of the names of modules whose indexes the conformance suite checks."""


def check_hits(hits: Hits, *, n_queries: int, n_documents: int, k: int, method: str) -> None:
    """Raise an AdapterError, which names `method`, the query row and the fault, for invalid hits.

    Scores need not be sorted; `rank` sorts them. NaN is an error because it has no rank.
    """
    for name, array, dtype in (("docs", hits.docs, np.int64), ("scores", hits.scores, np.float32)):
        if array.dtype != dtype or array.shape != (n_queries, k):
            raise AdapterError(
                f"{method}: {name} must be {np.dtype(dtype)} of shape ({n_queries}, {k}), found"
                f" {array.dtype} of shape {array.shape}. Pad short rows with -1 and -inf."
            )
    for start in range(0, n_queries, BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        for faulty, fault in _faults(hits.docs[block], hits.scores[block], n_documents):
            if faulty.any():
                row, column = np.argwhere(faulty)[0]
                doc = hits.docs[start + row, column]
                raise AdapterError(
                    f"{method}: query row {start + row}, column {column}, position {doc}: {fault}"
                )


def _faults(
    docs: Ints, scores: NDArray[np.float32], n_documents: int
) -> Iterator[tuple[Flags, str]]:
    """Yield masks of faulty entries, with a description of the fault and the expectation."""
    pad = docs < 0
    yield np.isnan(scores), "the score is NaN. Scores must be comparable numbers."
    yield (
        (docs < -1) | (docs >= n_documents),
        f"out of range. Expected 0 to {n_documents - 1}, or -1 for a pad.",
    )
    yield pad[:, :-1] & ~pad[:, 1:], "a pad before a result. Pads belong at the end of a row."
    yield pad & (scores != -np.inf), "a pad with a score. The score of a pad is -inf."
    in_order = docs.astype(narrowest(n_documents))
    in_order.sort(axis=1)
    again = (in_order[:, 1:] == in_order[:, :-1]) & (in_order[:, 1:] >= 0)
    if again.any():
        row, column = np.argwhere(again)[0]
        twice = np.zeros(docs.shape, dtype=np.bool_)
        twice[row, np.flatnonzero(docs[row] == in_order[row, column])[1]] = True
        fault = f"document {in_order[row, column]} is in the row twice. Return each document once."
        yield twice, fault


def narrowest(largest: int) -> type[np.signedinteger[Any]]:
    """Return an integer type for values up to `largest`."""
    return np.int32 if largest < 2**31 else np.int64


def checked(index: AnyIndex, documents: Sized) -> AnyIndex:
    """Return an index whose hits another one combines; of another package, they are checked.

    Their faults would otherwise be hidden: reciprocal ranks of NaN scores are numbers.

    Args:
        documents: what the index was built from.
    """
    if type(index).__module__.startswith(OWN):
        return index
    return CheckedIndex(index, len(documents))


def member_index(member: AnyRunner, context: Context) -> AnyIndex:
    """Return the `checked` index of a composite's member over its own encoded corpus."""
    documents = context.encoded(member)
    return checked(member.index(documents, context), documents)


@dataclasses.dataclass(frozen=True, eq=False)
class CheckedIndex(SavedIndex):
    """An index whose hits satisfy `check_hits`, and are sorted by descending score."""

    index: AnyIndex
    n_documents: int

    def search(self, queries: Any, k: int) -> Hits:
        """Return the hits; AdapterError if they are invalid."""
        hits = self.index.search(queries, k)
        check_hits(
            hits,
            n_queries=len(queries),
            n_documents=self.n_documents,
            k=k,
            method=type(self.index).__name__,
        )
        return best_first(hits)


def best_first(hits: Hits) -> Hits:
    """Return checked hits in descending order of their scores; equal scores keep their order."""
    docs, scores = hits
    pad = docs < 0
    in_place = pad[:, 1:] | (~pad[:, :-1] & (scores[:, :-1] >= scores[:, 1:]))
    rows = np.flatnonzero(~in_place.all(axis=1))
    if rows.size == 0:
        return hits
    # NaN sorts last, after a result whose score is -inf.
    key = np.where(pad[rows], np.float32(np.nan), -scores[rows])
    order = np.argsort(key, axis=1, kind="stable")
    docs, scores = docs.copy(), scores.copy()
    docs[rows] = np.take_along_axis(docs[rows], order, axis=1)
    scores[rows] = np.take_along_axis(scores[rows], order, axis=1)
    return Hits(docs, scores)
