"""Evaluation: from hits, or a run of ids, to measures with intervals and bounds under ties."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from rankstone.arrays import Floats, Ints
from rankstone.benchmarks.dataset import Dataset, Judgements
from rankstone.errors import MeasureError
from rankstone.evaluation import answer_judgements as matched
from rankstone.evaluation import intervals
from rankstone.evaluation import measure_names as names
from rankstone.evaluation import via_ir_measures as longtail
from rankstone.evaluation.judged_ranks import Placement, place, tie_bounds, within_runs
from rankstone.evaluation.measures import CORE
from rankstone.evaluation.ranking import Ranking, rank
from rankstone.results.record import Measure, QuerySummary
from rankstone.runners.protocols import Hits
from rankstone.runners.search.hits import check_hits

if TYPE_CHECKING:
    from rankstone.results.trec_run import Run as Lines

Run = Mapping[str, Iterable[tuple[str, float]]]
"""Query id -> (document id, score) pairs, in any order."""
Qrels = Mapping[str, Mapping[str, int]]
"""Query id -> document id -> label."""
Judge = Literal["judgements", "answers"]
Parsed = Mapping[str, names.Measure | longtail.LongTail]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Scores of one run on one task. The keys of both mappings are the requested names."""

    measures: dict[str, Measure]
    per_query: dict[str, Floats]
    """(n_queries,) values, in the order of `query_ids`."""
    query_ids: Sequence[str]
    ranking: Ranking
    queries: QuerySummary


def evaluate(
    hits: Hits,
    dataset: Dataset,
    *,
    measures: Sequence[str],
    method: str = "",
    cache: Path | None = None,
) -> Evaluation:
    """Score `hits` for all judged queries of `dataset`, at the task's depth.

    For a task judged by answers, the folder `cache` stores the matches of passages with answers. If
    the task drops self hits, or the source excludes documents of a query, `hits` must contain
    `dataset.spare` results more than the depth (or the whole corpus).

    Raises an AdapterError, which names `method`, if `hits` violate the contract, and a MeasureError
    for a measure that is unknown or deeper than the task.
    """
    task = dataset.task
    depth = task.depth
    parsed = parse_all(measures, depth, task.judge)
    drop_self = task.self_hits == "drop"
    n_documents = len(dataset.corpus)
    check_hits(
        hits,
        n_queries=len(dataset.query_ids),
        n_documents=n_documents,
        k=max(hits.docs.shape[-1], min(depth + dataset.spare, n_documents)),
        method=method or "hits",
    )
    judgements, excluded = dataset.judgements.parted(dataset.excluded_labels)
    ranking = rank(
        hits,
        ids=dataset.corpus.ids,
        self_positions=dataset.self_positions,
        drop_self=drop_self,
        excluded=(excluded.query, excluded.document),
        depth=depth,
    )
    if task.judge == "answers":
        judgements = matched.judge(ranking.docs, dataset, cache)
    return _evaluate(ranking, judgements, parsed, task.relevance, dataset.query_ids)


def evaluate_run(
    run: Run | Lines,
    qrels: Qrels,
    *,
    measures: Sequence[str],
    depth: int,
    relevance: int = 1,
    drop_self: bool = False,
    excluded_labels: Collection[int] = (),
    method: str = "run",
    judge: Judge = "judgements",
) -> Evaluation:
    """Score a run given as ids, by the same rules; no corpus is needed.

    Args:
        run: scores by query and document, or the lines of a run file (`results.trec_run.read_run`).
        qrels: only their queries are scored, in this order. For a task judged by answers, use
            `qrels_by_answers`.
        excluded_labels: labels of documents that are removed from the results of their query.
        depth: depth of the run: longer lists are truncated, and deeper measures are rejected.
    """
    parsed = parse_all(measures, depth, judge)
    query_ids = list(qrels)
    hits, document_ids = _hits(run, query_ids)
    positions = {document: position for position, document in enumerate(document_ids)}
    check_hits(
        hits,
        n_queries=len(query_ids),
        n_documents=len(positions),
        k=hits.docs.shape[1],
        method=method,
    )
    judgements, excluded = judgements_of(qrels, positions).parted(excluded_labels)
    ranking = rank(
        hits,
        ids=lambda found: [document_ids[position] for position in found.tolist()],
        self_positions=np.array([positions.get(query, -1) for query in query_ids], dtype=np.int64),
        drop_self=drop_self,
        excluded=(excluded.query, excluded.document),
        depth=depth,
    )
    return _evaluate(ranking, judgements, parsed, relevance, query_ids)


def query_rows(lines: Lines, query_ids: Sequence[str]) -> Ints:
    """Return for each line the position of its query in `query_ids`; -1 for other queries."""
    rows = {query: row for row, query in enumerate(query_ids)}
    row_of = np.array([rows.get(query, -1) for query in lines.query_ids], dtype=np.int64)
    return row_of[lines.query]


def hits_of(lines: Lines, query_ids: Sequence[str]) -> Hits:
    """Return the lines of these queries as padded arrays, in file order, over `document_ids`."""
    row = query_rows(lines, query_ids)
    order = np.argsort(row, kind="stable")
    order = order[row[order] >= 0]
    column = within_runs(row[order])
    hits = Hits.empty(len(query_ids), int(column.max(initial=-1)) + 1)
    hits.docs[row[order], column] = lines.document[order]
    hits.scores[row[order], column] = lines.score[order]
    return hits


def qrels_of(dataset: Dataset) -> dict[str, dict[str, int]]:
    """Return the judgements of `dataset` by id, in the order of its queries, for `evaluate_run`.

    A judged document outside the corpus has lost its id; it gets one that no run can contain.
    Raises a MeasureError if the task is judged by answers: these judge one run at a time
    (`qrels_by_answers`).
    """
    if dataset.task.judge == "answers":
        raise MeasureError(
            f"{dataset.task.name} is judged by answers: it has no judgements apart from a run. "
            "Match the run's passages with qrels_by_answers."
        )
    judgements = dataset.judgements
    found, which = np.unique(judgements.document, return_inverse=True)
    inside = dataset.corpus.ids(found[found >= 0])
    known = [""] * (len(found) - len(inside)) + inside
    qrels: dict[str, dict[str, int]] = {query: {} for query in dataset.query_ids}
    columns = (judgements.query.tolist(), which.tolist(), judgements.label.tolist())
    for entry, (query, document, label) in enumerate(zip(*columns, strict=True)):
        name = known[document] or f"\0{entry}"
        qrels[dataset.query_ids[query]][name] = label
    return qrels


def qrels_by_answers(
    lines: Lines, dataset: Dataset, cache: Path | None = None
) -> dict[str, dict[str, int]]:
    """Judge as 1 every passage of the run `lines` that contains an answer, for `evaluate_run`.

    The result contains all queries of `dataset`, in its order; documents that are not in the corpus
    are left out. The folder `cache` stores the matches.
    """
    # One additional entry, to which the pads (-1) point.
    positions = np.append(dataset.corpus.positions(lines.document_ids), -1)
    docs = positions[hits_of(lines, dataset.query_ids).docs]
    held = matched.judge(docs, dataset, cache)
    qrels: dict[str, dict[str, int]] = {query: {} for query in dataset.query_ids}
    for query, document in zip(held.query, dataset.corpus.ids(held.document), strict=True):
        qrels[dataset.query_ids[query]][document] = 1
    return qrels


def parse_all(measures: Iterable[str], depth: int, judge: Judge) -> Parsed:
    """Return the measures by name.

    Raises a MeasureError for a measure that is unknown, needs more than `depth` results, or cannot
    be computed from the task's kind of judgements.
    """
    parsed = {name: names.parse(name) for name in measures}
    for name, measure in parsed.items():
        _check_judge(name, measure, judge)
        if measure.cutoff is not None and measure.cutoff > depth:
            raise MeasureError(
                f"Measure '{name}' needs {measure.cutoff} results, but the run has {depth} per"
                f" query. Use a cutoff up to {depth}, or run with depth {measure.cutoff}."
            )
    return parsed


def _check_judge(name: str, measure: names.Measure | longtail.LongTail, judge: Judge) -> None:
    needed = CORE[measure.kind].judge if isinstance(measure, names.Measure) else "judgements"
    if needed == judge:
        return
    if judge == "answers":
        raise MeasureError(
            f"Measure '{name}' needs relevance judgements, but the task is judged by answers: "
            "only the retrieved passages are judged. Use Accuracy@20."
        )
    raise MeasureError(
        f"Measure '{name}' is the share of queries with an answer among their first results: it "
        'needs a task with judge = "answers". With judgements, use Success.'
    )


def _evaluate(
    ranking: Ranking,
    judgements: Judgements,
    parsed: Parsed,
    relevance: int,
    query_ids: Sequence[str],
) -> Evaluation:
    if ranking.n_queries == 0:
        raise MeasureError("There are no judged queries to average over. Check the split.")
    placement = place(ranking, judgements)
    tail = {m for m in parsed.values() if isinstance(m, longtail.LongTail)}
    others = longtail.per_query(tail, ranking, judgements, relevance) if tail else {}
    per_query = {
        name: m.values(placement, relevance) if isinstance(m, names.Measure) else others[m]
        for name, m in parsed.items()
    }
    bounds = _tie_bounds(ranking, placement, parsed, relevance, per_query)
    return Evaluation(
        measures=measures_of(per_query, bounds),
        per_query=per_query,
        query_ids=query_ids,
        ranking=ranking,
        queries=QuerySummary(
            n=ranking.n_queries,
            n_missing=int(np.count_nonzero(placement.n_results == 0)),
            n_tied=int(np.count_nonzero(ranking.tied)),
        ),
    )


def _tie_bounds(
    ranking: Ranking,
    placement: Placement,
    parsed: Parsed,
    relevance: int,
    per_query: Mapping[str, Floats],
) -> dict[str, dict[str, float]]:
    """Return the best and the worst mean that ties allow, for every core measure."""
    core = {name: m for name, m in parsed.items() if isinstance(m, names.Measure)}
    if not ranking.tied.any():
        return {n: dict.fromkeys(("best", "worst"), float(per_query[n].mean())) for n in core}
    ends = dict(zip(("best", "worst"), tie_bounds(ranking, placement), strict=True))
    return {
        name: {end: float(m.values(placed, relevance).mean()) for end, placed in ends.items()}
        for name, m in core.items()
    }


def measures_of(
    per_query: Mapping[str, Floats], bounds: Mapping[str, dict[str, float]] | None = None
) -> dict[str, Measure]:
    """Return the mean of each measure with its interval, and its bounds under ties.

    One value outside [0, 1] has no interval: its ends are unknown.
    """
    if not per_query:
        return {}
    known = bounds or {}
    ends = intervals.of_means(np.column_stack(list(per_query.values())))
    columns = zip(per_query.items(), *(end.tolist() for end in ends), strict=True)
    return {
        name: Measure(
            mean=float(value.mean()),
            low=low if math.isfinite(low) else None,
            high=high if math.isfinite(high) else None,
            n=len(value),
            **known.get(name, {}),
        )
        for (name, value), low, high in columns
    }


def _hits(run: Run | Lines, query_ids: Sequence[str]) -> tuple[Hits, Sequence[str]]:
    """Return `run` as padded arrays, and the document ids to which they refer."""
    if not isinstance(run, Mapping):
        return hits_of(run, query_ids), run.document_ids
    rows = [list(run.get(query, ())) for query in query_ids]
    hits, positions = Hits.empty(len(rows), max(map(len, rows), default=0)), dict[str, int]()
    # Scores beyond the range of float32 become infinite and tie, as in trec_eval.
    with np.errstate(over="ignore"):
        for number, row in enumerate(rows):
            ids = [positions.setdefault(d, len(positions)) for d, _ in row]
            hits.docs[number, : len(row)] = ids
            hits.scores[number, : len(row)] = [score for _, score in row]
    return hits, list(positions)


def judgements_of(qrels: Qrels, positions: Mapping[str, int]) -> Judgements:
    """Return `qrels` with documents as `positions`; -1 for unknown documents."""
    entries = [
        (row, positions.get(document, -1), label)
        for row, labels in enumerate(qrels.values())
        for document, label in labels.items()
    ]
    query, document, label = np.array(entries, dtype=np.int64).reshape(-1, 3).T
    return Judgements(query=query, document=document, label=label.astype(np.int32))
