"""Writes msmarco.json: what MS MARCO's own scripts make of made-up runs.

    python tests/golden/make_msmarco.py PASSAGES/ms_marco_eval.py DOCUMENTS/ms_marco_eval.py

The scripts are those of github.com/microsoft/MSMARCO-Passage-Ranking and MSMARCO-Document-Ranking.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import io
import json
import random
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

TARGET = Path(__file__).with_name("msmarco.json")
SEED, N_CASES = 0, 30
Run = dict[str, dict[str, float]]
Qrels = dict[str, dict[str, int]]


def case(rng: random.Random, cutoff: int, prefix: str) -> tuple[Run, Qrels]:
    """Scores that tie and fall against the ranks; queries without results, or without judgements.

    The first relevant document stands on both sides of the cutoff; some lines carry the label 0.
    """
    documents = [f"{prefix}{n}" for n in range(1, 2 * cutoff)]  # 7 is a query, too
    qrels: Qrels = {}
    for query in ("7", "10", "2", "33", "41", "5"):
        judged = rng.sample(documents, rng.randint(1, 3))
        qrels[query] = {document: int(rng.random() < 0.8) for document in judged}
    run: Run = {}
    while not run.keys() & qrels.keys():
        for query in (*qrels, "99"):
            if rng.random() < 0.8:
                found = rng.sample(documents, rng.randint(1, 3 * cutoff // 2))
                run[query] = {document: float(rng.randint(0, 3)) for document in found}
    return run, qrels


def scored(script: ModuleType, run: Run, qrels: Qrels, *options: Any) -> float:
    """MRR by `script`, from files as it reads them; ranks are the order of the lines."""
    ranked = [(q, d, rank) for q, found in run.items() for rank, d in enumerate(found, 1)]
    judged = [(q, 0, d, label) for q, labels in qrels.items() for d, label in labels.items()]
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for name, rows in (("reference", judged), ("candidate", ranked)):
            paths.append(Path(folder, name))
            paths[-1].write_text("".join("\t".join(map(str, row)) + "\n" for row in rows))
        with contextlib.redirect_stdout(io.StringIO()):
            found = script.compute_metrics_from_files(*map(str, paths), *options)
    return float(next(value for name, value in found.items() if name.startswith("MRR")))


def loaded(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    rng = random.Random(SEED)
    head: dict[str, Any] = {}
    cases = []
    kinds = (("passages", "", 10, ()), ("documents", "D", 100, (set(),)))
    for (what, prefix, cutoff, options), place in zip(kinds, sys.argv[1:], strict=True):
        path = Path(place)
        script = loaded(path, what)
        head[what] = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for _ in range(N_CASES if cutoff == 10 else 6):
            run, qrels = case(rng, cutoff, prefix)
            if what == "documents":  # the script leaves it to its user to cut the lists at 100
                run = {q: dict(list(found.items())[:cutoff]) for q, found in run.items()}
            value = scored(script, run, qrels, *options)
            cases.append({"cutoff": cutoff, "run": run, "qrels": qrels, "mrr": value})
        if what == "passages":
            padded = ({"1": {"8": 1.0}}, {"1": {"0": 1}, "2": {"8": 1}})
            head["padded with passage 0"] = scored(script, *padded)
    lines = ",\n".join(map(json.dumps, cases))
    TARGET.write_text(f'{json.dumps(head)[:-1]}, "cases": [\n{lines}\n]}}\n', encoding="ascii")


if __name__ == "__main__":
    main()
