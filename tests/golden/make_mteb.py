"""Writes mteb.json: the scores that MTEB gives made-up runs on made-up judgements.

    python tests/golden/make_mteb.py

Needs mteb. Its own retrieval tasks do the scoring, from their evaluation of a model down: the data
of each is replaced before it is fetched, and the model answers with a run made here.
"""

from __future__ import annotations

import json
import random
from importlib.metadata import version
from pathlib import Path
from typing import Any

TARGET = Path(__file__).with_name("mteb.json")
SEED, N_CASES = 0, 60
TASKS = {"NFCorpus": "beir/nfcorpus", "ArguAna": "beir/arguana"}
"""One that keeps self hits and one that drops them, under our names of their collections."""
BEIR = {
    "TRECCOVID": "trec-covid", "NFCorpus": "nfcorpus", "NQ": "nq", "HotpotQA": "hotpotqa",
    "FiQA2018": "fiqa", "ArguAna": "arguana", "Touche2020": "webis-touche2020",
    "CQADupstackTexRetrieval": "cqadupstack/tex", "QuoraRetrieval": "quora",
    "DBPedia": "dbpedia-entity", "SCIDOCS": "scidocs", "FEVER": "fever",
    "ClimateFEVER": "climate-fever", "SciFact": "scifact", "MSMARCO": "msmarco",
}  # fmt: skip
CUTOFFS = (1, 3, 10)
KINDS = ("ndcg", "map", "recall", "precision", "hit_rate", "mrr")
QUERIES = [f"q{n}" for n in range(5)] + ["d3", "D4"]  # the last two are documents as well
DOCUMENTS = ["d1", "d2", "d3", "d10", "d9", "D4", "é", "z", "Ω", "1", "11", "2"]
# Ties, and scores that tie as float32 and not as float64.
SCORES = (3.0, 2.0, 2.0, 1.0, 0.90000000002, 0.90000000001, 0.0, -1.5)


def case(rng: random.Random) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, int]]]:
    """A run and judgements: some queries find nothing, some have nothing relevant."""
    documents = rng.sample(DOCUMENTS, len(DOCUMENTS))
    qrels = {}
    for query in QUERIES:
        labels = (0, -1) if rng.random() < 0.15 else (-1, 0, 1, 1, 2, 3)
        judged = rng.sample(documents, rng.randint(1, 6))
        qrels[query] = {document: rng.choice(labels) for document in judged}
    run: dict[str, dict[str, float]] = {}
    while not run:
        for query in QUERIES:
            if rng.random() < 0.8:
                found = rng.sample(documents, rng.randint(1, len(documents)))
                own = [query] if query in DOCUMENTS and rng.random() < 0.3 else found
                run[query] = {document: rng.choice(SCORES) for document in own}
    return run, qrels


class Answers:
    """A model of MTEB's search protocol that was told what to answer."""

    mteb_model_meta = None

    def __init__(self, run: dict[str, dict[str, float]]) -> None:
        self._run = run

    def index(self, corpus: Any, **_: Any) -> None: ...

    def search(self, queries: Any, **_: Any) -> dict[str, dict[str, float]]:
        return {query: dict(self._run[query]) for query in queries["id"] if query in self._run}


def scored(name: str, run: dict[str, dict[str, float]], qrels: dict[str, dict[str, int]]) -> Any:
    import mteb
    from datasets import Dataset

    def texts(ids: list[str]) -> Dataset:
        return Dataset.from_dict({"id": ids, "text": ids, "title": ["" for _ in ids]})

    task = mteb.get_task(name)
    split = {
        "corpus": texts(DOCUMENTS),
        "queries": texts(list(qrels)),
        "relevant_docs": {query: dict(labels) for query, labels in qrels.items()},
        "top_ranked": None,
    }
    task.dataset, task.data_loaded = {"default": {"test": split}}, True
    found = task.evaluate(Answers(run), "test", encode_kwargs={})["default"]
    return {name: found[name] for kind in KINDS for k in CUTOFFS for name in [f"{kind}_at_{k}"]}


def main() -> None:
    import mteb

    rng = random.Random(SEED)
    cases = []
    for number in range(N_CASES):
        name = list(TASKS)[number % len(TASKS)]
        run, qrels = case(rng)
        scores = scored(name, run, qrels)
        cases.append({"dataset": TASKS[name], "run": run, "qrels": qrels, "scores": scores})
    self_hits = {f"beir/{o}": mteb.get_task(name).ignore_identical_ids for name, o in BEIR.items()}
    head = {
        "oracle": "mteb AbsTaskRetrieval.evaluate",
        "mteb": version("mteb"),
        "pytrec_eval-terrier": version("pytrec_eval-terrier"),
        "drops_self_hits": [ours for ours, drops in self_hits.items() if drops],
        "keeps_self_hits": [ours for ours, drops in self_hits.items() if not drops],
    }
    lines = ",\n".join(map(json.dumps, cases))
    TARGET.write_text(f'{json.dumps(head)[:-1]}, "cases": [\n{lines}\n]}}\n', encoding="ascii")


if __name__ == "__main__":
    main()
