"""all-MiniLM-L6-v2 on SciFact, end to end: a process of ours against one of BEIR's own evaluation.

Both read the collection from files, encode 5,183 abstracts at 256 tokens, search and evaluate; ours
also samples latencies and writes its record. Nothing is cached. SciFact is read from the folder of
`RANKSTONE_DATA`; without it nothing is measured.

    RANKSTONE_SCALE=0.05 python tests/speed/run.py encoding     a twentieth of the documents
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rankstone.benchmarks.dataset import Sources
from rankstone.benchmarks.store import find_raw
from rankstone.workspace import Workspace
from tests.beir_layout import write_beir

ROOT = Path(__file__).resolve().parents[2]
SCALE = float(os.environ.get("RANKSTONE_SCALE", "1.0"))
ROUNDS = 3 if SCALE < 0.5 else 1
"""A whole round takes minutes, and its parts are long enough not to need another."""
OURS = {"fp32": "dense/all-minilm-l6-v2", "bf16": "dense/all-minilm-l6-v2-bf16"}
MEASURES = {"nDCG@10": "NDCG@10", "R@100": "Recall@100"}
TASK = """
[tasks.scifact]
description = "SciFact, or a part of it."
loader = "beir"
measures = ["nDCG@10", "R@100"]
"""


def by_beir(folder: Path) -> dict[str, float]:
    """BEIR's example of evaluating a sentence-transformers model, with its own defaults."""
    from beir.datasets.data_loader import GenericDataLoader
    from beir.retrieval.evaluation import EvaluateRetrieval
    from beir.retrieval.models import SentenceBERT
    from beir.retrieval.search.dense import DenseRetrievalExactSearch

    from rankstone.runners.models import locate

    model = Workspace.find(ROOT).method(OURS["fp32"]).model
    assert model is not None
    corpus, queries, qrels = GenericDataLoader(str(folder)).load(split="test")
    search = DenseRetrievalExactSearch(SentenceBERT(str(locate(model).folder)), batch_size=128)
    retriever = EvaluateRetrieval(search, score_function="cos_sim")
    results = retriever.retrieve(corpus, queries)
    found = retriever.evaluate(qrels, results, [10, 100])
    return {name: value for part in found for name, value in part.items()}


def timed(command: list[str], environment: dict[str, str]) -> tuple[float, str]:
    started = time.perf_counter()
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1", **environment},
    )  # fmt: skip
    return time.perf_counter() - started, done.stdout


def beir(place: Path) -> tuple[float, dict[str, float]]:
    command = [sys.executable, __file__, str(place / "data" / "beir" / "scifact")]
    seconds, output = timed(command, {})
    return seconds, json.loads(output.splitlines()[-1])


def ours(place: Path, precision: str) -> tuple[float, dict[str, float], float | None]:
    """Seconds, measures, and the share of the machine's peak, of a run without any cache."""
    with tempfile.TemporaryDirectory(dir=place) as folder:
        command = [
            sys.executable, "-m", "rankstone", "run", OURS[precision], "--on", "beir/scifact",
            "--workspace", str(place), "--data", str(place / "data"),
            "--cache", f"{folder}/cache", "--results", f"{folder}/results",
        ]  # fmt: skip
        seconds, _ = timed(command, {})
        (path,) = Path(folder, "results").rglob("*@*.json")
        record: dict[str, Any] = json.loads(path.read_text())
    if record["status"] != "ok":
        raise RuntimeError(f"the cell failed: {record['error']}")
    measures = {name: record["measures"][name]["mean"] for name in MEASURES}
    return seconds, measures, record["profile"].get("flop_utilisation")


def collection(place: Path) -> None:
    """A workspace, and SciFact as plain files: a part of its documents where the scale says so."""
    shutil.copytree(ROOT / "runners", place / "runners")
    (place / "benchmarks").mkdir()
    (place / "benchmarks" / "beir.toml").write_text(TASK)
    named = os.environ.get("RANKSTONE_DATA")
    if not named:
        raise SystemExit("bench_encoding: set RANKSTONE_DATA to a folder that holds beir/scifact")
    task = Workspace.find(ROOT).task("beir/scifact")
    raw = find_raw(task, Sources(data=Path(named), cache=place / "cache"))
    folder = place / "data" / "beir" / "scifact"
    judged = list(raw.judgements("test"))
    needed = {j.document for j in judged}
    documents = list(raw.documents())
    kept = documents[: int(len(documents) * SCALE)]
    kept += [d for d in documents[len(kept) :] if d.id in needed] if SCALE < 1 else []
    asked = {j.query for j in judged}
    texts = {d.id: {"title": d.title, "text": d.text} for d in kept}
    queries = {q.id: q.text for q in raw.queries() if q.id in asked}
    write_beir(folder, texts, queries, test=[(j.query, j.document, j.label) for j in judged])


def lines() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="rankstone-encoding-") as name:
        place = Path(name)
        collection(place)
        rounds = []
        for _ in range(ROUNDS):
            theirs = beir(place)
            rounds.append((theirs, ours(place, "fp32"), ours(place, "bf16")))
    for number, (precision, goal, near) in enumerate(
        (("fp32", 1.5, 0.00005), ("bf16", 3.5, 0.001)), start=1
    ):
        ratio = statistics.median(r[0][0] / r[number][0] for r in rounds)
        yield f"speed encoding_{precision} ratio={ratio:.2f} goal=>={goal} peer=beir 2.2"
        apart = max(abs(r[number][1][m] - r[0][1][MEASURES[m]]) for r in rounds for m in MEASURES)
        # BEIR rounds its measures to five decimals.
        yield f"speed encoding_{precision}_differs ratio={apart:.5f} goal=<={near} peer=beir 2.2"
        shares = [r[number][2] for r in rounds if r[number][2]]
        if shares:
            share = statistics.median(shares)
            yield f"speed encoding_{precision}_mfu ratio={share:.2f} goal=>=0.4 peer=matmul peak"


if __name__ == "__main__":
    sys.stdout.write("\n" + json.dumps(by_beir(Path(sys.argv[1]))) + "\n")
