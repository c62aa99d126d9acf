"""Copies in the cache: found without conversion, and verified bit by bit."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from rankstone.benchmarks.dataset import Dataset, Sources
from rankstone.benchmarks.prepared import Copy, find_copy, verify_copy
from rankstone.benchmarks.store import open_dataset
from rankstone.benchmarks.task_names import task_of
from rankstone.errors import DataError
from rankstone.specs import Counts, TaskSpec

FLIPS = 50


@pytest.fixture
def task(tmp_path: Path) -> TaskSpec:
    folder = tmp_path / "set"
    (folder / "qrels").mkdir(parents=True)
    lines = "".join(f'{{"_id": "d{i}", "title": "t", "text": "x{i}"}}\n' for i in range(9))
    (folder / "corpus.jsonl").write_text(lines)
    (folder / "queries.jsonl").write_text('{"_id": "q", "text": "?"}\n{"_id": "d3", "text": "!"}\n')
    (folder / "qrels" / "test.tsv").write_text("q\td1\t1\nd3\td2\t0\nd3\tgone\t1\n")
    found = task_of(str(folder))
    assert found is not None
    return found


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    return Sources(data=None, cache=tmp_path / "cache")


def test_a_copy_is_found_without_converting(task: TaskSpec, sources: Sources) -> None:
    before = find_copy(task, sources)
    assert (before.ready, before.absent, before.counts()) == (False, before.folder, Counts())
    assert not sources.cache.exists()
    open_dataset(task, sources)
    after = find_copy(task, sources)
    assert (after.ready, after.absent, after.folder) == (True, None, before.folder)
    assert after.counts() == Counts(documents=9, queries=2, judgements=3)


def test_another_split_is_not_there_yet(task: TaskSpec, sources: Sources) -> None:
    open_dataset(task, sources)
    dev = find_copy(task.model_copy(update={"split": "dev"}), sources)
    assert (dev.ready, dev.absent, dev.counts()) == (False, dev.split, Counts(documents=9))


def content(data: Dataset) -> list[object]:
    every = np.arange(len(data.corpus))
    return [
        data.corpus.ids(every), data.corpus.take(every), data.query_ids, data.query_texts,
        *(array.tolist() for array in vars(data.judgements).values()),
        data.self_positions.tolist(), data.sha256,
    ]  # fmt: skip


def tables(copy: Copy) -> list[Path]:
    return [*copy.folder.glob("*.arrow"), *copy.split.glob("*.arrow")]


def test_every_flipped_bit_is_found(task: TaskSpec, sources: Sources) -> None:
    expected = content(open_dataset(task, sources))
    copy, rng = find_copy(task, sources), random.Random(0)
    assert verify_copy(copy, task, sources) == expected[-1]
    for _ in range(FLIPS):
        path = rng.choice(tables(copy))
        good = path.read_bytes()
        at = rng.randrange(len(good))
        path.write_bytes(good[:at] + bytes([good[at] ^ 1 << rng.randrange(8)]) + good[at + 1 :])
        with pytest.raises(DataError, match="damaged"):
            verify_copy(copy, task, sources)
        path.write_bytes(good)
    assert verify_copy(copy, task, sources) == expected[-1]
