"""Weighted sum of normalised scores, with weights given or tuned on training queries."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator, Mapping
from itertools import combinations, pairwise
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.errors import DefinitionError, RankstoneWarning
from rankstone.runners.compose.fusion_base import (
    Fusion,
    Gains,
    Ids,
    Normalisation,
    normalise,
    summed,
)
from rankstone.runners.protocols import STRICT, AnyIndex, Chunks, Context, Hits, Json, Judged
from rankstone.runners.representations.base import Composite
from rankstone.runners.saved import SavedIndex

CUT = 10
"""Weights are tuned for nDCG at this depth."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class WeightedFusion(Fusion):
    """score(d) = sum over members m of w_m * n_m(d), for normalised scores n_m (linear fusion).

    Scores s are normalised per query over the `depth` documents that the member retrieves:
    `minmax` is (s - min) / (max - min), `zscore` is (s - mean) / std minus its value for the last
    document. So n_m is at least 0, and a document that a member does not retrieve counts 0, as its
    last one does. If all scores of a member are equal, each counts 1 (Lee, Analyses of Multiple
    Evidence Combination, SIGIR 1997, for min-max; Renda and Straccia, SAC 2003, for z-scores;
    Bruch et al., arXiv:2210.11934, for both, compared with reciprocal ranks).

    `weights = "tuned"`: of all weights in steps of `step` that sum to 1, those with the highest
    mean nDCG@10 on training queries, and of equals the most uniform. Test queries are not used.
    Without training queries the weights are equal, with a warning.

    Ties of the sum in float32, also at rank k, go to the lower position in the corpus. Memory is
    that of the members' indexes.
    """

    normalisation: Normalisation
    weights: list[float] | Literal["tuned"]
    """One for each member, or `tuned`."""
    depth: Annotated[int, Field(ge=1)] = 1000
    """Documents that each member retrieves; no others can be found."""
    step: Annotated[float, Field(gt=0, le=0.5)] = 0.1
    """Step of the grid of weights; 1 must be a multiple of it."""
    train_queries: Annotated[int, Field(ge=1)] = 2000
    """Most training queries used for tuning, sampled with the run's seed."""

    def __post_init__(self) -> None:
        _check(self.weights, len(self.members))
        if abs(round(1 / self.step) * self.step - 1) > 1e-9:
            raise DefinitionError(
                f"key 'parameters.step': 1 is not a multiple of {self.step}. Take for example 0.1."
            )

    def describe(self) -> Mapping[str, Json]:
        tuned: Json = {"step": self.step, "queries": self.train_queries, "measure": f"nDCG@{CUT}"}
        return {
            "method": "weighted sum of normalised scores",
            "normalisation": self.normalisation,
            "depth": self.depth,
            "weights": self.weights if isinstance(self.weights, list) else tuned,
            "members": [member.describe() for member in self.members],
        }

    def index(self, documents: Chunks[Composite], context: Context) -> WeightedIndex:
        """Index each member over its own encoded corpus; `documents` is never read."""
        index = WeightedIndex(
            self.indexes(context),
            weights=tuple(self.weights) if isinstance(self.weights, list) else (1.0,),
            normalisation=self.normalisation,
            depth=self.depth,
        )
        if isinstance(self.weights, list) or len(self.members) == 1:
            return index
        with context.phase("train"):
            return dataclasses.replace(index, weights=tuple(self._tuned(index, context)))

    def _tuned(self, index: WeightedIndex, context: Context) -> list[float]:
        rows, labels = _judged(context.train_judgements, self.train_queries, context.seed)
        if not len(rows):
            warnings.warn(
                "there are no training queries with relevant documents to tune the weights on:"
                " members have equal weights",
                RankstoneWarning,
                stacklevel=2,
            )
            return [1 / len(self.members)] * len(self.members)
        texts = [context.train_queries[int(row)] for row in rows]
        docs, gains, owners = index.normalised(self.encode(texts, "query"))
        best = (-1.0, 0.0, [1.0])
        for weights in simplex(len(self.members), round(1 / self.step)):
            found = summed(docs, gains * np.asarray(weights)[owners], CUT).docs
            evenness = -max(weights)
            best = max(best, (labels.ndcg(found), evenness, weights))
        return best[2]


@dataclasses.dataclass(frozen=True, eq=False)
class WeightedIndex(SavedIndex):
    """The members' indexes and their weights."""

    indexes: tuple[AnyIndex, ...]
    weights: tuple[float, ...]
    normalisation: Normalisation
    depth: int

    def search(self, queries: Composite, k: int) -> Hits:
        docs, gains, owners = self.normalised(queries)
        return summed(docs, gains * np.asarray(self.weights)[owners], k)

    def normalised(self, queries: Composite) -> tuple[Ids, Gains, Ids]:
        """Return all members' documents side by side, normalised scores, and the member of a
        column."""
        pairs = zip(self.indexes, queries.members, strict=True)
        found = [index.search(rep, self.depth) for index, rep in pairs]
        gains = [normalise(hits.scores, self.normalisation) for hits in found]
        owners = np.repeat(np.arange(len(found)), [hits.docs.shape[1] for hits in found])
        return (
            np.concatenate([hits.docs for hits in found], axis=1),
            np.concatenate(gains, axis=1),
            owners,
        )


def simplex(members: int, steps: int) -> Iterator[list[float]]:
    """Yield all weights of `members` members that are multiples of 1 / steps and sum to 1."""
    for bars in combinations(range(steps + members - 1), members - 1):
        edges = (-1, *bars, steps + members - 1)
        parts = [right - left - 1 for left, right in pairwise(edges)]
        yield [part / steps for part in parts]


class _Labels:
    """Relevance labels of the documents of some queries."""

    def __init__(self, row: Ids, document: Ids, label: NDArray[np.int32], n: int) -> None:
        order = np.lexsort((document, row))
        self._row, self._document, self._label = row[order], document[order], label[order]
        self._width = int(document.max(initial=0)) + 1
        self._keys = self._row * self._width + self._document
        self._discounts = 1 / np.log2(np.arange(CUT) + 2)
        ideal = np.lexsort((-self._label, self._row))
        place = np.arange(len(ideal)) - np.searchsorted(self._row, self._row)
        kept = place < CUT
        gained = self._label[ideal][kept] * self._discounts[place[kept]]
        self._ideal = np.bincount(self._row[kept], weights=gained, minlength=n)

    def ndcg(self, docs: Ids) -> float:
        """Return the mean nDCG of (n, CUT) positions, padded by -1."""
        keys = np.arange(len(docs))[:, None] * self._width + docs
        known = (docs >= 0) & (docs < self._width)
        places = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        hit = known & (self._keys[places] == keys)
        gained = np.where(hit, self._label[places], 0) @ self._discounts
        return float((gained / self._ideal).mean())


def _judged(judgements: Judged, limit: int, seed: int) -> tuple[Ids, _Labels]:
    """Return rows of training queries that have a relevant document, and their labels."""
    relevant = judgements.label > 0
    query, document = judgements.query[relevant], judgements.document[relevant]
    rows = np.unique(query)
    if len(rows) > limit:
        rows = np.sort(np.random.default_rng(seed).choice(rows, limit, replace=False))
    kept = np.isin(query, rows)
    places = np.searchsorted(rows, query[kept])
    return rows, _Labels(places, document[kept], judgements.label[relevant][kept], len(rows))


def _check(weights: Any, members: int) -> None:
    if weights == "tuned":
        return
    if len(weights) != members:
        raise DefinitionError(
            f"key 'parameters.weights': {len(weights)} weights for {members} members."
            " State one for each."
        )
    if not (np.isfinite(weights).all() and min(weights) >= 0 and max(weights) > 0):
        raise DefinitionError(
            f"key 'parameters.weights': {weights}: none may be negative, and one must be positive."
            " Correct them."
        )
