"""Measures of one run under arbitrary rules."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rankstone.evaluation import measure_names as names
from rankstone.evaluation.conventions.rules import ABOVE, CAPPED, EVERY_LABEL, Rules
from rankstone.evaluation.evaluate import Qrels, hits_of, judgements_of, query_rows
from rankstone.evaluation.judged_ranks import UNRANKED, Placement, place, within_runs
from rankstone.evaluation.measures import Values
from rankstone.evaluation.ranking import Ranking, rank

if TYPE_CHECKING:
    from rankstone.results.trec_run import Run as Lines


class Scores:
    """Measures of one run under arbitrary rules; rankings are cached by order."""

    def __init__(self, lines: Lines, qrels: Qrels, depth: int) -> None:
        self._lines, self._depth = lines, depth
        self._query_ids = list(qrels)
        positions = {document: row for row, document in enumerate(lines.document_ids)}
        self._own = np.array([positions.get(q, -1) for q in qrels], dtype=np.int64)
        self._judgements = judgements_of(qrels, positions)
        found = set(lines.query_ids)
        self._found = np.array([query in found for query in qrels], dtype=np.bool_)
        # A ranking of MS MARCO dev takes 84 MB, a placement a few kilobytes.
        self._ranking = lru_cache(maxsize=2)(self._ranked)
        self._placement = cache(self._placed)

    def mean(self, measure: names.Measure, rules: Rules) -> float:
        values = self._values(measure, rules)[self._counted(measure, rules)]
        return float(values.mean()) if len(values) else 0.0

    def moves(
        self, measure: names.Measure, ours: Rules, theirs: Rules
    ) -> Iterator[tuple[str, float]]:
        """Yield a description and the effect of each rule that changed the measure."""
        rules, value = ours, self.mean(measure, ours)
        for rule in fields(Rules):
            change: dict[str, Any] = {rule.name: getattr(theirs, rule.name)}
            after = replace(rules, **change)
            moved = self.mean(measure, after)
            if moved != value:
                yield self._described(measure, rule.name, rules, after), moved - value
            rules, value = after, moved

    def _values(self, measure: names.Measure, rules: Rules) -> Values:
        ways = (rules.order, rules.score_dtype, rules.self_hits, rules.depth, rules.unjudged)
        if measure.kind == "Judged" and rules.judged == "for any query":
            return self._not_holes(self._ranking(*ways), measure.cutoff or self._depth)
        cutoff, least = measure.cutoff or self._depth, _least(measure, rules)
        placement = _known(self._placement(*ways), rules.normaliser, cutoff)
        relevant = placement.n_labelled(least)
        if rules.gain != "label" and measure.kind.startswith("nDCG"):
            binary = (placement.label >= least).astype(np.int64)
            placement = replace(placement, label=binary)
        values = measure.values(placement, rules.relevance)
        if rules.normaliser == CAPPED and measure.kind in ("R", "AP"):
            values = values * (relevant / np.clip(relevant, 1, cutoff))
        return values

    def _counted(self, measure: names.Measure, rules: Rules) -> NDArray[np.bool_]:
        """Return flags of the queries over which the mean is taken."""
        counted = np.ones(len(self._query_ids), dtype=np.bool_)
        if rules.missing_queries == "skip":
            counted &= self._found
        if rules.without_relevant == "skip":
            known = self._judgements.query[self._judgements.label >= _least(measure, rules)]
            counted &= np.isin(np.arange(len(counted)), known)
        return counted

    def _placed(self, *ways: Any) -> Placement:
        return place(self._ranking(*ways), self._judgements)

    def _ranked(
        self, order: str, dtype: str, self_hits: str, deepest: int | None, unjudged: str
    ) -> Ranking:
        lines = ordered(self._lines, order, dtype)
        if deepest is not None:
            lines = _chosen(lines, within_runs(lines.query) < deepest)
        if unjudged == "left out":
            lines = _chosen(lines, self._judged_lines(lines))
        hits = hits_of(lines, self._query_ids)
        return rank(
            hits,
            ids=lambda found: [self._lines.document_ids[row] for row in found.tolist()],
            self_positions=self._own,
            drop_self=self_hits == "drop",
            depth=self._depth,
        )

    def _judged_lines(self, lines: Lines) -> NDArray[np.bool_]:
        """Return flags of the lines whose document is judged for their query."""
        width, known = len(lines.document_ids), self._judgements
        inside = known.document >= 0
        pairs = known.query[inside] * width + known.document[inside]
        return np.isin(query_rows(lines, self._query_ids) * width + lines.document, pairs)

    def _not_holes(self, ranking: Ranking, cutoff: int) -> Values:
        """Return 1 - the share of `cutoff` ranks with documents not judged for any query."""
        known = np.zeros(len(self._lines.document_ids) + 1, dtype=np.bool_)
        known[self._judgements.document] = True
        known[-1] = True  # pads, and documents that were not retrieved
        holes: Values = np.sum(~known[ranking.docs[:, :cutoff]], axis=1) / cutoff
        return 1.0 - holes

    def _described(self, measure: names.Measure, rule: str, ours: Rules, theirs: Rules) -> str:
        """Return a description of how `theirs` differs from `ours` in `rule`."""
        match rule:
            case "relevance":
                return f"relevant is {_threshold(theirs)}, not {_threshold(ours)}"
            case "score_dtype":
                return f"scores compared as {theirs.score_dtype}, not {ours.score_dtype}"
            case "depth":
                return f"a run of {theirs.depth or 'all'} results, not {ours.depth or 'all'}"
            case "judged":
                return f"judged {theirs.judged}, not {ours.judged}, and over k ranks"
            case "missing_queries" | "without_relevant":
                n, n_ours = (int(self._counted(measure, rules).sum()) for rules in (theirs, ours))
                return f"mean over {n} queries, not {n_ours}"
        words = {"self_hits": "self hits", "unjudged": "unjudged documents"}.get(rule, rule)
        return f"{words}: {getattr(theirs, rule)}, not {getattr(ours, rule)}"


def _chosen(lines: Lines, kept: NDArray[np.bool_]) -> Lines:
    return lines._replace(
        query=lines.query[kept], document=lines.document[kept], score=lines.score[kept]
    )


def _known(placement: Placement, normaliser: str, cutoff: int) -> Placement:
    """Return the judgements of the documents over which the normaliser is taken."""
    if normaliser == "retrieved relevant documents":
        return placement.above(UNRANKED - 1)
    return placement.above(cutoff) if normaliser == ABOVE else placement


def _least(measure: names.Measure, rules: Rules) -> int:
    return rules.relevance if measure.rel is None else measure.rel


def _threshold(rules: Rules) -> str:
    return "every label" if rules.relevance == EVERY_LABEL else f"label >= {rules.relevance}"


def ordered(lines: Lines, order: str, dtype: str) -> Lines:
    """Return the lines in an order of `Rules`, with strictly decreasing scores per query."""
    keys: list[NDArray[Any]] = [np.arange(len(lines.query))]
    if order.startswith("score"):
        keys.append(-lines.score.astype(dtype))
    if "document id" in order:
        rank_of = np.empty(len(lines.document_ids), dtype=np.int64)
        rank_of[sorted(range(len(rank_of)), key=lines.document_ids.__getitem__)] = np.arange(
            len(rank_of)
        )
        by_id = rank_of[lines.document]
        keys.insert(1, -by_id if order.endswith("descending") else by_id)
    by = np.lexsort((*keys, lines.query))
    query = lines.query[by]
    # float32 represents every integer below 2^24 exactly.
    score = -within_runs(query).astype(np.float32)
    return lines._replace(query=query, document=lines.document[by], score=score)
