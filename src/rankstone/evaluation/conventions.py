"""Declared conventions of other evaluation tools, so that differences can be explained.

A `Tool` declares the `Rules` of each of its measures; `compare` computes the same run under our
rules and under the tool's, and names the rules that moved each number. The formulas are ours: the
tools agree on them (and are the oracles of the tests); they differ in the rules.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from rankstone.evaluation import measure_names as names
from rankstone.evaluation.evaluate import Qrels, hits_of, judgements_of
from rankstone.evaluation.judged_ranks import Placement, place, within_runs
from rankstone.evaluation.measures import Values
from rankstone.evaluation.ranking import Ranking, rank

if TYPE_CHECKING:
    from rankstone.results.trec_run import Run as Lines

EVERY_LABEL = -(2**31)
"""A relevance threshold that every judged document reaches."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Conventions that affect a number besides the formula; the defaults are Rankstone's."""

    relevance: int = 1
    """The lowest label that binary measures count as relevant."""
    self_hits: Literal["keep", "drop"] = "keep"
    order: Literal[
        "score, document id descending",
        "score, document id ascending",
        "score, file order",
        "file order",
    ] = "score, document id descending"
    score_dtype: Literal["float32", "float64"] = "float32"
    judged: Literal["for the query", "for any query"] = "for the query"
    """Documents that Judged@k counts; "for any query" divides by k, also for shorter results."""
    missing_queries: Literal["score 0", "skip"] = "score 0"


@dataclass(frozen=True, kw_only=True)
class Form:
    """Name and rules of one kind of measure in a tool."""

    name: str
    """Template with `{k}` for the cutoff."""
    rules: Rules
    uncut: str | None = None
    """The name without a cutoff; None where the tool has none: the run's depth is its cutoff."""
    cutoffs: frozenset[int] | None = None
    """The only cutoffs it has; None for any."""
    rounded: bool = True
    """True if the tool's `digits` apply to this form."""


@dataclass(frozen=True, kw_only=True)
class Tool:
    """Conventions of one tool."""

    name: str
    source: str
    """Source code that they were read from."""
    forms: Mapping[str, Form]
    """Forms by kind of measure (a key of `measures.CORE`)."""
    digits: int | None = None
    """Decimals that it rounds to or prints; None for all."""
    thresholds: bool = False
    """True if its user may choose the lowest relevant label of a measure."""
    drops_self_on: frozenset[str] = frozenset()
    """Collections on which it drops self hits, where it decides that by collection."""
    keeps_self_in: frozenset[str] = frozenset()
    """Families whose collections of these names keep them."""
    always: tuple[str, ...] = ()
    """Rankstone's names of measures that it always reports."""
    note: str = ""
    """Remark for readers of its numbers."""

    def rules_on(self, form: Form, dataset: str) -> Rules:
        """Return the rules of `form` on a collection such as `beir/fiqa`."""
        parts = dataset.split("/")
        if self.drops_self_on.isdisjoint(parts) or not self.keeps_self_in.isdisjoint(parts):
            return form.rules
        return replace(form.rules, self_hits="drop")


# Documented as -c (missing queries), -l (relevance) and -M (cutoff of recip_rank) in its README;
# order in form_res_rels.c. Version 10 holds scores as double.
_TREC = Rules(missing_queries="skip")
TREC_EVAL = Tool(
    name="trec_eval",
    source="trec_eval 9.0.8 without options (trec_eval.c, form_res_rels.c)",
    digits=4,
    thresholds=True,
    forms={
        "nDCG": Form(name="ndcg_cut_{k}", uncut="ndcg", rules=_TREC),
        "AP": Form(name="map_cut_{k}", uncut="map", rules=_TREC),
        "RR": Form(name="recip_rank -M {k}", uncut="recip_rank", rules=_TREC),
        "R": Form(name="recall_{k}", rules=_TREC),
        "P": Form(name="P_{k}", rules=_TREC),
        "Success": Form(name="success_{k}", rules=_TREC),
    },
)

# Reads the rank and no score; every line of the reference counts as relevant, whatever its label.
MSMARCO = Tool(
    name="msmarco",
    source="ms_marco_eval.py of microsoft/MSMARCO-Passage-Ranking and, for MRR @100, of"
    " MSMARCO-Document-Ranking (compute_metrics)",
    always=("RR@10",),
    note="its references list relevant passages only: a line with label 0 would count as relevant;"
    " where passage 0 is relevant, it takes the empty places of a list of fewer than ten for it",
    forms={
        "RR": Form(
            name="MRR @{k}",
            cutoffs=frozenset({10, 100}),
            rules=Rules(order="file order", relevance=EVERY_LABEL),
        ),
    },
)

# Half through pytrec_eval, over the queries found; half in its own Python, over all queries.
_BEIR = Rules(missing_queries="skip", self_hits="drop")
_BEIR_OWN = Rules(self_hits="drop", order="score, file order", score_dtype="float64")
BEIR = Tool(
    name="beir",
    source="beir 2.2.0, EvaluateRetrieval (retrieval/evaluation.py, custom_metrics.py)",
    digits=5,
    forms={
        "nDCG": Form(name="NDCG@{k}", rules=_BEIR),
        "AP": Form(name="MAP@{k}", rules=_BEIR),
        "R": Form(name="Recall@{k}", rules=_BEIR),
        "P": Form(name="P@{k}", rules=_BEIR),
        "RR": Form(name="MRR@{k}", rules=_BEIR_OWN),
        "R_cap": Form(name="R_cap@{k}", rules=_BEIR_OWN),
        "Success": Form(name="Accuracy@{k}", rules=_BEIR_OWN),
        "Judged": Form(name="1 - Hole@{k}", rules=replace(_BEIR_OWN, judged="for any query")),
    },
)

# `ignore_identical_ids` is set by task; earlier releases left ties of MRR in file order.
_MTEB = Rules(missing_queries="skip")
MTEB = Tool(
    name="mteb",
    source="mteb 2.26.24 (_evaluators/retrieval_metrics.py, ignore_identical_ids of its tasks)",
    digits=5,
    note="mrr_at_k is not rounded; all are to six decimals in the files that it writes",
    drops_self_on=frozenset(
        {"arguana", "fever", "fever-hard-negatives", "fiqa", "msmarco", "quora"}
    ),
    keeps_self_in=frozenset({"nano-beir"}),
    forms={
        "nDCG": Form(name="ndcg_at_{k}", rules=_MTEB),
        "AP": Form(name="map_at_{k}", rules=_MTEB),
        "R": Form(name="recall_at_{k}", rules=_MTEB),
        "P": Form(name="precision_at_{k}", rules=_MTEB),
        "Success": Form(name="hit_rate_at_{k}", rules=_MTEB),
        "RR": Form(name="mrr_at_{k}", rules=replace(_MTEB, score_dtype="float64"), rounded=False),
    },
)

TOOLS = {tool.name: tool for tool in (TREC_EVAL, MSMARCO, BEIR, MTEB)}


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One measure under our rules and under a tool's."""

    measure: str
    ours: float
    name: str
    """Name of the measure in the tool."""
    theirs: float
    """Value under the tool's rules, not rounded."""
    shown: float
    """`theirs` as the tool rounds it."""
    moved: tuple[tuple[str, float], ...] = field(default=())
    """Differing rules and their effects, which sum to theirs - ours."""


def compare(
    lines: Lines,
    qrels: Qrels,
    *,
    measures: Sequence[str],
    depth: int,
    ours: Rules,
    tool: Tool,
    dataset: str = "",
) -> list[Comparison]:
    """Compare each of `measures` that `tool` has, under `ours` and under its own rules.

    Rules are exchanged one after the other, in the order of `Rules`, and each is charged with what
    the number moved by when its turn came. `lines.score` may be float32 or float64.
    """
    scores = _Scores(lines, qrels, depth)
    found = []
    for name in dict.fromkeys((*measures, *tool.always)):
        measure = names.parse(name)
        if not isinstance(measure, names.Measure) or (measure.cutoff or 0) > depth:
            continue
        form = tool.forms.get(measure.kind)
        label = _label(tool, form, measure, depth) if form else None
        if form is None or label is None:
            continue
        rules = tool.rules_on(form, dataset)
        theirs = scores.mean(measure, rules)
        found.append(
            Comparison(
                measure=name,
                ours=scores.mean(measure, ours),
                name=label,
                theirs=theirs,
                shown=round(theirs, tool.digits) if tool.digits and form.rounded else theirs,
                moved=tuple(scores.moves(measure, ours, rules)),
            )
        )
    return found


def _label(tool: Tool, form: Form, measure: names.Measure, depth: int) -> str | None:
    """Return the name of `measure` in `tool`; None if it has no equivalent."""
    if measure.rel not in (None, form.rules.relevance) and not tool.thresholds:
        return None
    threshold = "" if measure.rel in (None, 1) else f" -l {measure.rel}"
    if measure.cutoff is None and form.uncut is not None:
        return form.uncut + threshold
    if measure.cutoff is None and measure.kind == "nDCG":
        return None  # truncated at the run's depth, the ideal ranking would differ
    cutoff = measure.cutoff or depth
    if form.cutoffs is not None and cutoff not in form.cutoffs:
        return None
    return form.name.format(k=cutoff) + threshold


class _Scores:
    """One run's measures under any rules; rankings are made once per order."""

    def __init__(self, lines: Lines, qrels: Qrels, depth: int) -> None:
        self._lines, self._depth = lines, depth
        self._query_ids = list(qrels)
        positions = {document: row for row, document in enumerate(lines.document_ids)}
        self._own = np.array([positions.get(q, -1) for q in qrels], dtype=np.int64)
        self._judgements = judgements_of(qrels, positions)
        found = set(lines.query_ids)
        self._found = np.array([query in found for query in qrels], dtype=np.bool_)
        self._ranking = cache(self._ranked)
        self._placement = cache(self._placed)

    def mean(self, measure: names.Measure, rules: Rules) -> float:
        values = self._values(measure, rules)
        if rules.missing_queries == "skip":
            values = values[self._found]
        return float(values.mean()) if len(values) else 0.0

    def moves(
        self, measure: names.Measure, ours: Rules, theirs: Rules
    ) -> Iterator[tuple[str, float]]:
        """Yield each rule that changed the measure, in words, with the difference."""
        rules, value = ours, self.mean(measure, ours)
        for rule in fields(Rules):
            change: dict[str, Any] = {rule.name: getattr(theirs, rule.name)}
            after = replace(rules, **change)
            moved = self.mean(measure, after)
            if moved != value:
                yield self._say(rule.name, rules, after), moved - value
            rules, value = after, moved

    def _values(self, measure: names.Measure, rules: Rules) -> Values:
        ways = (rules.order, rules.score_dtype, rules.self_hits)
        if measure.kind == "Judged" and rules.judged == "for any query":
            return self._not_holes(self._ranking(*ways), measure.cutoff or self._depth)
        return measure.values(self._placement(*ways), rules.relevance)

    def _placed(self, *ways: str) -> Placement:
        return place(self._ranking(*ways), self._judgements)

    def _ranked(self, order: str, dtype: str, self_hits: str) -> Ranking:
        hits = hits_of(ordered(self._lines, order, dtype), self._query_ids)
        return rank(
            hits,
            ids=lambda found: [self._lines.document_ids[row] for row in found.tolist()],
            self_positions=self._own,
            drop_self=self_hits == "drop",
            depth=self._depth,
        )

    def _not_holes(self, ranking: Ranking, cutoff: int) -> Values:
        """Return 1 - the share of `cutoff` ranks with documents that are judged for no query."""
        known = np.zeros(len(self._lines.document_ids) + 1, dtype=np.bool_)
        known[self._judgements.document] = True
        known[-1] = True  # pads, and documents that were not retrieved
        holes: Values = np.sum(~known[ranking.docs[:, :cutoff]], axis=1) / cutoff
        return 1.0 - holes

    def _say(self, rule: str, ours: Rules, theirs: Rules) -> str:
        match rule:
            case "relevance":
                return f"relevant is {_threshold(theirs)}, not {_threshold(ours)}"
            case "self_hits":
                return f"self hits: {theirs.self_hits}, not {ours.self_hits}"
            case "order":
                return f"order: {theirs.order}, not {ours.order}"
            case "score_dtype":
                return f"scores compared as {theirs.score_dtype}, not {ours.score_dtype}"
            case "judged":
                return f"judged {theirs.judged}, not {ours.judged}, and over k ranks"
        counts = {"skip": int(self._found.sum()), "score 0": len(self._found)}
        n, n_ours = counts[theirs.missing_queries], counts[ours.missing_queries]
        return f"mean over {n} queries, not {n_ours}"


def _threshold(rules: Rules) -> str:
    return "every label" if rules.relevance == EVERY_LABEL else f"label >= {rules.relevance}"


def ordered(lines: Lines, order: str, dtype: str) -> Lines:
    """Return the lines in an order of `Rules`, with scores that fall strictly within each query."""
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
    # Below 2^24 every whole number has a float32 of its own.
    score = -within_runs(query).astype(np.float32)
    return lines._replace(query=query, document=lines.document[by], score=score)
