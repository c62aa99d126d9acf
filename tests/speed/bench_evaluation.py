"""Evaluating a run of MS MARCO dev's size: 6,980 queries, 1,000 results each.

Inside our clock: the check of the hits, the ranking, the measures, the tie audit, and the bootstrap
intervals that the others do not compute. Their runs are already the dictionaries they want.
"""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Iterator
from time import perf_counter

import ir_measures
import numpy as np
import pytrec_eval

from rankstone.benchmarks.dataset import Dataset, Judgements
from rankstone.evaluation.evaluate import evaluate
from rankstone.runners.protocols import Hits
from rankstone.specs import TaskSpec

N_QUERIES, N_JUDGEMENTS, DEPTH, N_DOCUMENTS = 6980, 7437, 1000, 100_000
NAMES = ("nDCG@10", "RR@10", "R@100", "R@1000")
REPEATS = 3


class NumberedCorpus:
    """Documents whose ids are their positions."""

    def __len__(self) -> int:
        return N_DOCUMENTS

    def ids(self, positions):
        return [str(position) for position in positions.tolist()]


def make_hits(rng: np.random.Generator, *, ties: bool) -> Hits:
    docs = np.stack([rng.choice(N_DOCUMENTS, DEPTH, replace=False) for _ in range(N_QUERIES)])
    scores = -np.sort(-rng.random(docs.shape, dtype=np.float32), axis=1)
    return Hits(docs, np.round(scores, 3) if ties else scores)


def make_dataset(rng: np.random.Generator, hits: Hits) -> Dataset:
    """Every query has a judgement, a few have two; most judged documents are in the results."""
    query = np.sort(
        np.append(
            np.arange(N_QUERIES), rng.choice(N_QUERIES, N_JUDGEMENTS - N_QUERIES, replace=False)
        )
    )
    rank = np.minimum(rng.geometric(0.02, N_JUDGEMENTS), DEPTH - 1) - (np.arange(N_JUDGEMENTS) % 2)
    task = TaskSpec(name="t/t", description="", loader="m:f", dataset="t/t", depth=DEPTH)
    return Dataset(
        task=task,
        corpus=NumberedCorpus(),
        query_ids=[str(row) for row in range(N_QUERIES)],
        query_texts=[""] * N_QUERIES,
        judgements=Judgements(
            query=query, document=hits.docs[query, rank], label=np.ones(N_JUDGEMENTS, np.int32)
        ),
        train_queries=[],
        sha256={},
        source="generated",
        self_positions=np.full(N_QUERIES, -1),
        n_unknown_documents=0,
        n_unjudged_queries=0,
    )


def as_dicts(
    hits: Hits, dataset: Dataset
) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, int]]]:
    ids = [str(position) for position in range(N_DOCUMENTS)]
    run = {
        str(row): dict(zip([ids[d] for d in docs.tolist()], scores.tolist(), strict=True))
        for row, (docs, scores) in enumerate(zip(*hits, strict=True))
    }
    judged = dataset.judgements
    qrels: dict[str, dict[str, int]] = {}
    for query, document in zip(judged.query.tolist(), judged.document.tolist(), strict=True):
        qrels.setdefault(str(query), {})[ids[document]] = 1
    return run, qrels


def seconds(action: Callable[[], object]) -> float:
    gc.collect()
    start = perf_counter()
    action()
    return perf_counter() - start


def speed_ups(ours: Callable[[], object], *peers: Callable[[], object]) -> list[float]:
    """The median of each peer's time over ours, of runs taken in turn after one warm-up of ours."""
    ours()
    rounds = []
    for _ in range(REPEATS):
        mine = seconds(ours)
        rounds.append([seconds(peer) / mine for peer in peers])
    return [statistics.median(ratios) for ratios in zip(*rounds, strict=True)]


def compare(label: str, *, ties: bool) -> Iterator[str]:
    rng = np.random.default_rng(0)
    hits = make_hits(rng, ties=ties)
    dataset = make_dataset(rng, hits)
    run, qrels = as_dicts(hits, dataset)
    trec_names = {"ndcg_cut_10", "recip_rank", "recall_100,1000"}
    evaluator = pytrec_eval.RelevanceEvaluator(qrels, trec_names)
    oracle = [ir_measures.parse_measure(name) for name in NAMES]
    to_pytrec_eval, to_ir_measures = speed_ups(
        lambda: evaluate(hits, dataset, measures=NAMES),
        lambda: evaluator.evaluate(run),
        lambda: ir_measures.calc(oracle, qrels, run),
    )
    yield f"speed {label} ratio={to_pytrec_eval:.1f} goal=>=5 peer=pytrec_eval"
    yield f"speed {label} ratio={to_ir_measures:.1f} goal=>=12 peer=ir_measures"


def lines() -> Iterator[str]:
    yield from compare("evaluate", ties=False)
    yield from compare("evaluate_tied", ties=True)
