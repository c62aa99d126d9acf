"""Base of methods that fuse several rankings, and sums of gains over them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.runners.members import Members
from rankstone.runners.protocols import STRICT, AnyIndex, Context, Defaults, Hits, Role, Truncation
from rankstone.runners.representations.base import Composite
from rankstone.runners.search.hits import member_index

BATCH = 64
"""Queries fused at once, so that the sorted arrays fit the processor's cache."""
LAST = np.iinfo(np.int64).max

Ids = NDArray[np.int64]
Gains = NDArray[np.float64]
Normalisation = Literal["minmax", "zscore"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Fusion(Defaults):
    """A method of several members that encode and retrieve independently."""

    members: Annotated[Members, Field(min_length=1)]
    """The runners to fuse."""

    def encode(self, texts: Sequence[str], role: Role) -> Composite:
        return Composite(tuple(member.encode(texts, role) for member in self.members))

    def indexes(self, context: Context) -> tuple[AnyIndex, ...]:
        """Return each member's index over its own encoded corpus."""
        return tuple(member_index(member, context) for member in self.members)

    def truncation(self, texts: Sequence[str], role: Role) -> Truncation | None:
        """Return the sum over the members that have a limit."""
        counts = [member.truncation(texts, role) for member in self.members]
        limited = [count for count in counts if count is not None]
        return Truncation(*map(sum, zip(*limited, strict=True))) if limited else None


def summed(docs: Ids, gains: Gains, k: int) -> Hits:
    """Return the documents with the highest sum of gains for each query.

    Sums are taken in float64 in the order of the columns and returned in float32. Ties of the
    float32 scores, also at rank k, go to the lower position. Takes two integer sorts per query.

    Args:
        docs: (n_queries, width) positions, padded by -1; a document may occur in several columns.
        gains: the same shape, or one per column.
        k: documents to return per query.
    """
    hits = Hits.empty(len(docs), k)
    for start in range(0, len(docs) if docs.shape[1] and k else 0, BATCH):
        part = slice(start, start + BATCH)
        own = gains if gains.ndim == 1 else gains[part]
        _sum_batch(docs[part], own, hits.docs[part], hits.scores[part])
    return hits


def _sum_batch(docs: Ids, gains: Gains, found: Ids, scores: NDArray[np.float32]) -> None:
    """Write the best documents of a batch of queries into `found` and `scores`."""
    width = docs.shape[1]
    bits = width.bit_length()
    # Document and column in one integer: sorting values is many times faster than argsort.
    keys = (docs << bits) | np.arange(width)
    keys[docs < 0] = LAST
    keys.sort(axis=1)
    ids, no_document = keys >> bits, keys == LAST
    np.copyto(ids, -1 - np.arange(width), where=no_document)  # distinct pads
    columns = np.minimum(keys & ((1 << bits) - 1), width - 1)
    values = gains.take(columns) if gains.ndim == 1 else np.take_along_axis(gains, columns, axis=1)
    exact, first = _sums_of_runs(ids, values)
    sums = (exact + 0.0).astype(np.float32)  # -0 becomes 0
    order = (_descending(sums) << bits) | np.arange(width)
    order[~first | no_document] = LAST
    if found.shape[1] < width // 4:
        order = np.partition(order, found.shape[1], axis=1)[:, : found.shape[1]]
    order.sort(axis=1)
    order = order[:, : found.shape[1]]
    places = np.minimum(order & ((1 << bits) - 1), width - 1)
    pads = order == LAST
    for given, kept, pad in ((ids, found, -1), (sums, scores, -np.inf)):
        best = np.take_along_axis(given, places, axis=1)
        best[pads] = pad
        kept[:, : best.shape[1]] = best


def _sums_of_runs(ids: Ids, values: Gains) -> tuple[Gains, NDArray[np.bool_]]:
    """Return the sum of each run of equal ids in a row, at its start, and a mask of the starts."""
    sums, first = values.copy(), np.ones(ids.shape, dtype=np.bool_)
    for shift in range(1, ids.shape[1]):
        same = ids[:, shift:] == ids[:, :-shift]
        if not same.any():
            break
        np.logical_and(first[:, shift:], ~same, out=first[:, shift:])
        sums[:, :-shift] += values[:, shift:] * same
    return sums, first


def _descending(scores: NDArray[np.float32]) -> Ids:
    """Return 32-bit integers that ascend as the scores descend."""
    bits = scores.view(np.int32).astype(np.int64)
    # Positive floats are ordered as their bits; negative ones the other way round.
    return np.where(bits >= 0, -bits, bits + 2**31)


def normalise(scores: NDArray[np.float32], how: Normalisation) -> Gains:
    """Return one member's (n_queries, depth) normalised scores; 0 for its last document and
    pads."""
    found = scores > -np.inf
    counts = np.maximum(found.sum(axis=1, keepdims=True), 1)
    values = np.where(found, scores, 0).astype(np.float64)
    lowest = np.where(found, values, np.inf).min(axis=1, keepdims=True, initial=np.inf)
    above = np.where(found, values - np.where(np.isfinite(lowest), lowest, 0), 0)
    if how == "minmax":
        spread = above.max(axis=1, keepdims=True, initial=0)
    else:
        mean = above.sum(axis=1, keepdims=True) / counts
        squares = np.where(found, above - mean, 0) ** 2
        spread = np.sqrt(squares.sum(axis=1, keepdims=True) / counts)
    gains: Gains = np.where(spread > 0, above / np.where(spread > 0, spread, 1), found)
    return gains
