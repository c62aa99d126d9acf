"""Real runs over MS MARCO, against published figures and against pytrec_eval on the same run."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
import pytrec_eval
import zstandard

from rankstone.evaluation.evaluate import evaluate_run

PUBLISHED_NDCG_10 = {
    "bm25-anserini.dl19": 0.5058,
    "bm25-anserini.dl20": 0.4796,
    "splade-pp-ed.dl19": 0.7308,
    "splade-pp-ed.dl20": 0.7197,
    "tas-b.dl19": 0.7210,
    "tas-b.dl20": 0.6854,
}
TREC_NAMES = {"nDCG@10": "ndcg_cut_10", "AP": "map", "RR": "recip_rank", "R@100": "recall_100"}


def qrels_of(year: str, data: Path) -> dict[str, dict[str, int]]:
    """The official judgements of DL 2019 or 2020: lines of `query 0 document label`."""
    qrels: dict[str, dict[str, int]] = {}
    with (
        zstandard.open(data / "msmarco/dl-pool.tar.zst", "rb") as packed,
        tarfile.open(fileobj=packed, mode="r|") as archive,
    ):
        for member in archive:
            if member.name.endswith(f"qrels/official-dl{year}.txt"):
                text = archive.extractfile(member).read().decode()
                for query, _, document, label in map(str.split, text.splitlines()):
                    qrels.setdefault(query, {})[document] = int(label)
    return qrels


def run_of(name: str, data: Path) -> dict[str, list[tuple[str, float]]]:
    run: dict[str, list[tuple[str, float]]] = {}
    with zstandard.open(data / f"runs/{name}.trec.zst", "rb") as packed:
        for line in io.TextIOWrapper(packed, encoding="utf-8"):
            query, _, document, _, score, _ = line.split()
            run.setdefault(query, []).append((document, float(score)))
    return run


@pytest.mark.parametrize("name", PUBLISHED_NDCG_10)
def test_a_published_run_gives_its_published_figure(name, data_folder):
    run = run_of(name, data_folder)
    qrels = qrels_of(name[-2:], data_folder)
    evaluation = evaluate_run(run, qrels, measures=list(TREC_NAMES), depth=100)
    assert round(evaluation.measures["nDCG@10"].mean, 4) == PUBLISHED_NDCG_10[name]
    as_dicts = {query: dict(results) for query, results in run.items()}
    theirs = pytrec_eval.RelevanceEvaluator(qrels, set(TREC_NAMES.values())).evaluate(as_dicts)
    for measure, trec_name in TREC_NAMES.items():
        values = [theirs[query][trec_name] for query in qrels]
        assert evaluation.per_query[measure] == pytest.approx(values, abs=1e-9), measure
