"""The core measures: one function each, from ranks of judged documents to a value per query.

A measure is a function ``(placement, cutoff, relevance) -> (n_queries,) float64``; `CORE` names it.
Definitions are those of trec_eval, whose source file each docstring cites; names are those of
ir_measures. A query without relevant documents, or without results, scores 0 and is included in the
mean.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rankstone.arrays import Floats, Ints
from rankstone.evaluation.judged_ranks import UNRANKED, Placement, within_runs

Values = Floats
Formula = Callable[[Placement, int, int], Values]

WHOLE = UNRANKED - 1
"""Cutoff of a measure without one: deeper than the rank of any retrieved document."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Formula and properties of a core measure."""

    formula: Formula
    needs_cutoff: bool = False
    graded: bool = False
    """True if the measure has no relevance threshold: it uses labels as they are, or not at all."""
    judge: Literal["judgements", "answers"] = "judgements"
    """Kind of judgements that the measure needs."""


def ndcg(placement: Placement, cutoff: int, relevance: int) -> Values:
    """Normalised discounted cumulative gain (Järvelin & Kekäläinen 2002; m_ndcg_cut.c).

    Gain is the label, 0 for negative labels; discount is log2(rank + 1). The ideal ranking holds
    all judged documents, retrieved or not; it is truncated at the cutoff, never at the run's depth.
    """
    return _normalised(placement, cutoff, np.maximum(placement.label, 0).astype(np.float64))


def ndcg_exp(placement: Placement, cutoff: int, relevance: int) -> Values:
    """nDCG with gain 2^label - 1 (Burges et al. 2005; gdeval.pl)."""
    return _normalised(placement, cutoff, np.exp2(np.maximum(placement.label, 0)) - 1.0)


def recall(placement: Placement, cutoff: int, relevance: int) -> Values:
    """Share of the relevant documents in the first `cutoff` results (m_recall.c)."""
    return _ratio(_n_found(placement, cutoff, relevance), placement.n_labelled(relevance))


def capped_recall(placement: Placement, cutoff: int, relevance: int) -> Values:
    """Found / min(relevant, cutoff), so that 1 is reachable (Thakur et al. 2021, BEIR,
    TREC-COVID)."""
    relevant = np.minimum(placement.n_labelled(relevance), cutoff)
    return _ratio(_n_found(placement, cutoff, relevance), relevant)


def reciprocal_rank(placement: Placement, cutoff: int, relevance: int) -> Values:
    """1 / rank of the first relevant document (m_recip_rank.c; ms_marco_eval.py with a cutoff)."""
    entries = _found(placement, cutoff, relevance)
    values = np.zeros(placement.n_queries)
    # Entries are ordered by query, then rank: the first entry of a query is its best.
    query, first = np.unique(placement.query[entries], return_index=True)
    values[query] = 1.0 / placement.rank[entries[first]]
    return values


def average_precision(placement: Placement, cutoff: int, relevance: int) -> Values:
    """Mean over all relevant documents of the precision at their ranks (m_map.c, m_map_cut.c).

    A relevant document outside the first `cutoff` results contributes 0.
    """
    entries = _found(placement, cutoff, relevance)
    query = placement.query[entries]
    precision = (within_runs(query) + 1) / placement.rank[entries]
    return _ratio(_sum(placement, query, precision), placement.n_labelled(relevance))


def precision(placement: Placement, cutoff: int, relevance: int) -> Values:
    """Relevant documents in the first `cutoff` results / `cutoff`, also if fewer (m_P.c)."""
    return _n_found(placement, cutoff, relevance) / cutoff


def success(placement: Placement, cutoff: int, relevance: int) -> Values:
    """1 if a relevant document is in the first `cutoff` results, else 0 (m_success.c)."""
    return (_n_found(placement, cutoff, relevance) > 0).astype(np.float64)


def judged(placement: Placement, cutoff: int, relevance: int) -> Values:
    """Judged documents / results, both of the first `cutoff` results (ir_measures' Judged)."""
    query = placement.query[placement.rank <= cutoff]
    n_judged = np.bincount(query, minlength=placement.n_queries)
    return _ratio(n_judged, np.minimum(placement.n_results, cutoff))


def accuracy(placement: Placement, cutoff: int, relevance: int) -> Values:
    """1 if one of the first `cutoff` passages has an answer, else 0 (Karpukhin et al. 2020)."""
    return success(placement, cutoff, 1)


CORE: dict[str, Kind] = {
    "nDCG": Kind(formula=ndcg, graded=True),
    "nDCG_exp": Kind(formula=ndcg_exp, graded=True),
    "R": Kind(formula=recall, needs_cutoff=True),
    "R_cap": Kind(formula=capped_recall, needs_cutoff=True),
    "RR": Kind(formula=reciprocal_rank),
    "AP": Kind(formula=average_precision),
    "P": Kind(formula=precision, needs_cutoff=True),
    "Success": Kind(formula=success, needs_cutoff=True),
    "Judged": Kind(formula=judged, graded=True),
    "Accuracy": Kind(formula=accuracy, needs_cutoff=True, graded=True, judge="answers"),
}


def _found(placement: Placement, cutoff: int, relevance: int) -> Ints:
    """Return the entries of the relevant documents in the first `cutoff` results."""
    return np.flatnonzero((placement.rank <= cutoff) & (placement.label >= relevance))


def _n_found(placement: Placement, cutoff: int, relevance: int) -> Ints:
    query = placement.query[_found(placement, cutoff, relevance)]
    return np.bincount(query, minlength=placement.n_queries)


def _normalised(placement: Placement, cutoff: int, gain: Values) -> Values:
    """Return the discounted gains divided by the discounted gains in the ideal order."""
    ideal_order = np.lexsort((-gain, placement.query))
    ideal_rank = within_runs(placement.query) + 1
    actual = _discounted(placement, gain, placement.rank, cutoff)
    return _ratio(actual, _discounted(placement, gain[ideal_order], ideal_rank, cutoff))


def _discounted(placement: Placement, gain: Values, rank: Ints, cutoff: int) -> Values:
    inside = rank <= cutoff
    weights = gain[inside] / np.log2(rank[inside] + 1)
    return _sum(placement, placement.query[inside], weights)


def _sum(placement: Placement, query: Ints, weights: Values) -> Values:
    """Return (n_queries,) sums of `weights` by `query`."""
    sums = np.bincount(query, weights=weights, minlength=placement.n_queries)
    return sums.astype(np.float64, copy=False)


def _ratio(part: NDArray[Any], whole: Ints | Values) -> Values:
    """Return `part / whole`; 0 if `whole` is 0."""
    values = np.zeros(len(part))
    np.divide(part, whole, out=values, where=whole > 0)
    return values
