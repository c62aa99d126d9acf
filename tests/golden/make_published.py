"""Makes `leaderboards/published.csv` of a table of published values.

    python tests/golden/make_published.py FACTS.csv > leaderboards/published.csv

FACTS.csv has the columns system, variant, checkpoint, dataset, split, metric, value, source and
confidence; `more_facts.csv` beside this file has others, collected later.
A row is a method's where its checkpoint is the method's model, or a line of `BY_HAND`
says so; what runs a checkpoint inside another system is left out (`OTHERS`), and so are costs.
"""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from rankstone.specs import MethodSpec
from rankstone.workspace import Workspace

MORE = Path(__file__).with_name("more_facts.csv")
COLUMNS = ("method", "task", "dataset", "measure", "value", "source", "confidence")
OTHERS = re.compile(
    r"MUVERA|single-vector heuristic|PRF|rerank|HNSW|ONNX|UniXcoder: fine-tuned|ModularStar|beta"
)
"""Systems and variants that are not the checkpoint's own method."""
OTHER_SETTINGS = re.compile(r"m2-bert-80M.*2402\.07440|unixcoder.*CodeNet", re.IGNORECASE)
"""Checkpoint and source of rows that are not of the definition: LoCo's paper probably measured the
weights of hazyresearch/M2-BERT-*-Retrieval-Encoder-V1; CodeNet is read with other lengths."""
BY_HAND = (
    ("dense/ar2-nq", r"AR2: G \(retriever\)", r"NQ "),
    ("dense/ar2-triviaqa", r"AR2: G \(retriever\)", r"TriviaQA "),
    ("dense/dpr-single-nq", r"DPR: original single NQ", r""),
    ("dense/dpr-multiset", r"DPR: multiset", r""),
    ("dense/dupmae", r"DupMAE .*: (zero-shot|stage [23](, CLS and OT.*)?)$", r""),
    ("dense/mamba-retriever-130m", r"Mamba Retriever: (Mamba 130M|mamba-100m.*)$", r""),
    ("dense/mamba-retriever-370m", r"Mamba Retriever: [Mm]amba.370[Mm]$", r""),
    ("dense/mamba-retriever-790m", r"Mamba Retriever: [Mm]amba.790[Mm]$", r""),
    ("rerank/bm25-minilm-l6-cross", r"BM25\+CE rerank top-100", r""),
    ("rerank/svdr-msmarco-beta", r"SVDR: beta search", r""),
    ("dense/gear", r"GeAR: bi-encoder part", r""),
    ("rerank/gear-sentences", r"GeAR: local \(sentence\) retrieval", r""),
    ("dense/gnn-coder", r"GNN-Coder: ", r""),
    *((f"dense/modularstarencoder-{n}", rf"ModularStarEncoder .*layer {n}$", r"")
      for n in (4, 9, 18, 27, 36)),
)  # fmt: skip
"""(method, "system: variant", data set), as patterns."""
SCORERS = {
    f"cross-encoder/ms-marco-MiniLM-L-{n}-v2": f"rerank/bm25-minilm-l{n}-cross"
    for n in (2, 4, 6, 12)
}
"""Cross-encoders by the names they had when values of them over BM25 were published."""
TASKS = {
    ("MS MARCO passage", "dev (6980)"): "msmarco/dev",
    ("TREC DL 2019 passage", "test (43)"): "msmarco/trec-dl-2019",
    ("TREC DL 2020 passage", "test (54)"): "msmarco/trec-dl-2020",
    ("BEIR msmarco", "dev"): "beir/msmarco-dev",
    ("NQ (DPR wiki 21M)", "test"): "nq/dpr",
}
LOCO = {
    "SummScreenFD": "summ_screen_fd", "GovReport": "gov_report", "QMSum": "qmsum",
    "QASPER title": "qasper_title", "QASPER abstract": "qasper_abstract",
    "MultiFieldQA": "multifieldqa", "2WikiMQA": "2wikimqa",
    "Passage Retrieval": "passage_retrieval", "CourtListener HTML": "courtlistener_HTML",
    "CourtListener Plain Text": "courtlistener_Plain_Text",
    "Legal Case Reports": "legal_case_reports", "StackOverflow": "stackoverflow",
}  # fmt: skip
MEASURE = re.compile(r"(nDCG|R|MRR|MAP|P|capped R)(@\d+)?$|MAP@R$|MRR gain$")
OURS = {"MRR": "RR", "MAP": "AP", "capped R": "R_cap"}


def main(facts: Path) -> None:
    place = Workspace.find(Path(__file__).resolve().parents[2])
    methods = owners([place.method(name) for name in place.method_names()])
    tasks = set(place.tasks)
    found = [row for fact in facts_of(facts) for row in rows(fact, methods, tasks)]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(sorted(set(found)))


def facts_of(facts: Path) -> Iterator[dict[str, str]]:
    """The rows of FACTS.csv, and those collected later."""
    for path in (facts, MORE):
        with path.open(encoding="utf-8", newline="") as file:
            yield from csv.DictReader(file)


def owners(specs: list[MethodSpec]) -> dict[str, str]:
    """Checkpoint -> the method that is it, untrained: of several, the one of the shortest name."""
    found: dict[str, str] = {}
    untrained = [spec for spec in specs if spec.training is None]
    for spec in sorted(untrained, key=lambda spec: len(spec.name)):
        for model in (spec.model, spec.query_model):
            if model is not None:
                found.setdefault(model.id, spec.name)
    return found


def rows(
    fact: dict[str, str], methods: dict[str, str], tasks: set[str]
) -> Iterator[tuple[str, ...]]:
    if MEASURE.match(fact["metric"]) is None:
        return
    for method in methods_of(fact, methods):
        yield (
            method,
            task_of(fact, tasks),
            dataset_of(fact),
            measure_of(fact),
            fact["value"],
            f"{fact['source']}; {fact['variant']}" if fact["variant"] else fact["source"],
            fact["confidence"],
        )


def methods_of(fact: dict[str, str], methods: dict[str, str]) -> list[str]:
    """Ours that the row is of; `methods`: those of checkpoints, from `owners`."""
    system = f"{fact['system']}: {fact['variant']}"
    owned = [
        method
        for method, pattern, dataset in BY_HAND
        if re.match(pattern, system) and re.match(dataset, fact["dataset"])
    ]
    if owned:
        return owned
    if OTHER_SETTINGS.search(f"{fact['checkpoint']} {fact['source']}"):
        return []
    if fact["system"] == "MiniLM cross-encoder":
        return [SCORERS[fact["checkpoint"]]] if fact["checkpoint"] in SCORERS else []
    if fact["checkpoint"] in methods and not OTHERS.search(system):
        return [methods[fact["checkpoint"]]]
    return []


def measure_of(fact: dict[str, str]) -> str:
    """Our name of the row's measure; the source's where we have none."""
    measure = MEASURE.match(fact["metric"])
    if measure is None or measure[1] is None:
        return fact["metric"]
    if measure[1] == "R" and "(DPR wiki 21M)" in fact["dataset"]:
        return f"Accuracy{measure[2] or ''}"
    return f"{OURS.get(measure[1], measure[1])}{measure[2] or ''}"


def dataset_of(fact: dict[str, str]) -> str:
    """The data set and split as the source has them."""
    return fact["dataset"] + ("" if fact["split"] in ("test", "") else f", {fact['split']}")


def task_of(fact: dict[str, str], tasks: set[str]) -> str:
    """Our task of the row's data; empty where there is none, or it cannot be told."""
    dataset, split = fact["dataset"], fact["split"]
    found = TASKS.get((dataset, split), "")
    if found == "nq/dpr" and "pyserini" in fact["source"]:
        return ""  # whether it asks nq/dpr or nq/dpr-open is not said
    own = fact["system"] == "Contriever" and "Contriever paper" in fact["source"]
    if own and dataset == "BEIR webis-touche2020":  # as it was first judged
        found = "beir/webis-touche2020-v1"
    if not found and dataset.startswith("BEIR ") and split == "test":
        found = "beir/" + dataset.removeprefix("BEIR ").replace("cqadupstack-", "cqadupstack/")
    if dataset.startswith("LoCoV1 "):
        found = "loco/" + LOCO.get(dataset.removeprefix("LoCoV1 "), "")
    return found if found in tasks else ""


if __name__ == "__main__":
    main(Path(sys.argv[1]))
