"""Rankings from the hits of an index: defines order, ties, padding, self hits and exclusions.

The order is trec_eval's: score descending as float32, then document id descending by bytes
(`comp_sim_docno` in trec_eval's form_res_rels.c). The order in which the index returned hits is
ignored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rankstone.arrays import Flags, Ints
from rankstone.runners.protocols import Hits
from rankstone.runners.search.hits import best_first, narrowest

Ids = Callable[[Ints], list[str]]
"""Document ids at corpus positions, e.g. `Corpus.ids`."""

TIED_ROWS = 64
"""Number of rows with ties sorted at once, as BLOCK_ROWS for the several arrays that they need."""


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Results of all queries in their final order, truncated at `depth`."""

    docs: Ints
    """(n_queries, width) positions in corpus order; -1 pads at the end of a row; width <= depth."""
    scores: NDArray[np.float32]
    """(n_queries, width), descending; -inf if `docs` is -1."""
    tied: Flags
    """(n_queries,) True for queries with two results of equal scores."""
    depth: int
    """Number of requested results; rows may have fewer."""

    @property
    def n_queries(self) -> int:
        return len(self.docs)

    def n_results(self) -> Ints:
        """Return (n_queries,) numbers of results."""
        lengths: Ints = np.sum(self.docs >= 0, axis=1, dtype=np.int64)
        return lengths


def rank(
    hits: Hits,
    *,
    ids: Ids,
    self_positions: Ints | None = None,
    drop_self: bool = False,
    excluded: tuple[Ints, Ints] | None = None,
    depth: int,
) -> Ranking:
    """Order checked `hits` and truncate them at `depth`.

    `ids` is called only for documents with tied scores. With `drop_self`, the document at
    `self_positions` (n_queries,) (-1 if there is none) is removed from its query's row first, so
    one result more than `depth` must be retrieved for such a query. The `excluded` documents, given
    as query rows and positions, are removed likewise. Scores tie if they are equal as float32; -0.0
    and 0.0 tie, as in trec_eval.
    """
    docs, scores = hits
    if drop_self:
        if self_positions is None:
            raise ValueError("drop_self needs self_positions")
        docs, scores = _without(docs, scores, docs == self_positions[:, None])
    if excluded is not None and len(excluded[0]):
        docs, scores = _without(docs, scores, among(docs, *excluded))
    docs, scores = best_first(Hits(docs, scores))
    level = level_with_next(docs, scores)
    if level.any():
        docs = _by_id_descending(docs, level, ids)
    return Ranking(
        docs=docs[:, :depth],
        scores=scores[:, :depth],
        tied=np.any(level[:, : depth - 1], axis=1),
        depth=depth,
    )


def level_with_next(docs: Ints, scores: NDArray[np.float32]) -> Flags:
    """Return (n, width - 1) flags of results with the same score as the next, in sorted rows."""
    level: Flags = scores[:, :-1] == scores[:, 1:]
    return level & (docs[:, 1:] >= 0)


def among(docs: Ints, rows: Ints, positions: Ints) -> Flags:
    """Return flags of the entries of `docs` that are among the pairs (row, position)."""
    width = max(int(docs.max(initial=0)), int(positions.max(initial=0))) + 2
    entries = np.arange(len(docs))[:, None] * width + docs + 1
    return np.isin(entries, rows * width + positions + 1)


def _without(
    docs: Ints, scores: NDArray[np.float32], out: Flags
) -> tuple[Ints, NDArray[np.float32]]:
    # The position -1 of a document outside the corpus matches only pads, without any effect.
    return np.where(out, -1, docs), np.where(out, np.float32(-np.inf), scores)


def _by_id_descending(docs: Ints, level: Flags, ids: Ids) -> Ints:
    """Return `docs` with every run of tied documents in descending order of id."""
    rows = np.flatnonzero(level.any(axis=1))
    blocks = [rows[start : start + TIED_ROWS] for start in range(0, len(rows), TIED_ROWS)]
    if not blocks:
        return docs
    tied = np.zeros(int(docs.max()) + 1, dtype=np.bool_)
    for block in blocks:
        tied[docs[block][_in_runs(level[block])]] = True
    found, place = _places(tied, ids)
    docs = docs.copy()
    for block in blocks:
        docs[block] = _runs_by_place(docs[block], level[block], found, place)
    return docs


def _runs_by_place(docs: Ints, level: Flags, found: Ints, place: NDArray[np.int32]) -> Ints:
    """Return `docs` with every run of tied documents in ascending order of their `place`.

    One integer per result ascends by run of equal scores and then by place. Runs are already in
    order, so sorting a row only permutes documents within runs. Integers sort faster than pairs,
    and small integers faster still.
    """
    member = _in_runs(level)
    least = np.zeros(docs.shape, dtype=narrowest(docs.shape[1] * len(found)))
    np.cumsum(~level, axis=1, out=least[:, 1:])
    least *= len(found)
    key = np.where(member, place[docs], 0) + least
    key.sort(axis=1)
    key -= least
    return np.where(member, found[key], docs)


def _in_runs(level: Flags) -> Flags:
    """Return (n, width) flags of the results that tie with a neighbour."""
    member = np.zeros((len(level), level.shape[1] + 1), dtype=np.bool_)
    member[:, :-1] = level
    member[:, 1:] |= level
    return member


def _places(tied: Flags, ids: Ids) -> tuple[Ints, NDArray[np.int32]]:
    """Return the `tied` documents by descending id, and the index of each document among them."""
    found = np.flatnonzero(tied)
    names = ids(found)
    # Python compares strings by code point, which is the order of their UTF-8 bytes.
    order = sorted(range(len(names)), key=names.__getitem__, reverse=True)
    found = found[order]
    place = np.zeros(len(tied), dtype=np.int32)
    place[found] = np.arange(len(found), dtype=np.int32)
    return found, place
