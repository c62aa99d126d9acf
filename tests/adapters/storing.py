"""What the tests that kill processes run in them: records and collections that are written."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np

from rankstone.benchmarks.dataset import Dataset, Sources
from rankstone.benchmarks.store import open_dataset
from rankstone.benchmarks.task_names import task_of
from rankstone.files import temporary_folder
from rankstone.results.per_query import write_per_query
from rankstone.results.store import ResultStore, Staged
from rankstone.specs import TaskSpec
from tests.records import make_record

METHODS = 3


def write_collection(folder: Path, documents: int = 300) -> TaskSpec:
    """A collection in BEIR layout with queries for training."""
    (folder / "qrels").mkdir(parents=True)
    lines = (
        json.dumps({"_id": f"d{n}", "title": f"t{n}", "text": "x" * n}) for n in range(documents)
    )
    (folder / "corpus.jsonl").write_text("\n".join(lines))
    lines = (json.dumps({"_id": f"q{n}", "text": f"what {n}?"}) for n in range(20))
    (folder / "queries.jsonl").write_text("\n".join(lines))
    for split, queries in (("test", range(10)), ("train", range(10, 20))):
        rows = "".join(f"q{n}\td{n}\t{1 + n % 2}\nq{n}\td{n + 1}\t0\n" for n in queries)
        (folder / "qrels" / f"{split}.tsv").write_text(rows)
    task = task_of(str(folder))
    assert task is not None
    return task.model_copy(update={"train_split": "train"})


def content(data: Dataset) -> list[object]:
    """All that is measured of a collection."""
    every = np.arange(len(data.corpus))
    return [
        data.corpus.ids(every), data.corpus.take(every), data.query_ids, data.query_texts,
        list(data.train_queries), data.self_positions.tolist(), data.sha256, data.warnings,
        data.source,
        *(array.tolist() for array in vars(data.judgements).values()),
        *(array.tolist() for array in vars(data.train_judgements).values()),
    ]  # fmt: skip


def store_for_ever(results: Path, task_json: str, caches: Path, log: Path) -> None:
    """Write records of some cells and collections, in turn; log each record that is stored."""
    store, task = ResultStore(results), TaskSpec.model_validate_json(task_json)
    store.check_writable()
    for number in itertools.count():
        with temporary_folder(results, ".cell-{}") as folder:
            write_per_query(folder / "v", ["q"], {"nDCG@10": np.array([float(number)])})
            method = f"lexical/m{number % METHODS}"
            record = make_record(method, warnings=[str(number)])
            store.write(record, Staged(per_query=folder / "v"))
        with log.open("a") as out:
            out.write(f"{method} {number}\n")
        if number % 10 == 0:
            open_dataset(task, Sources(data=None, cache=caches / str(number)))
