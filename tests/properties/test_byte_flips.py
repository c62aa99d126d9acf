"""A byte flipped anywhere in a stored file is noticed, or changes nothing that is read."""

from __future__ import annotations

import random
import tarfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zstandard

from rankstone.benchmarks.dataset import Sources
from rankstone.benchmarks.storage.archives import extracted
from rankstone.benchmarks.store import open_dataset
from rankstone.encodings.shards import Cost, DamagedShardError, open_shard, read_info, write_shard
from rankstone.errors import RankstoneError, RankstoneWarning
from rankstone.evaluation import answer_judgements
from rankstone.results.per_query import read_latency, read_per_query, write_latency, write_per_query
from rankstone.results.record import RunRecord
from rankstone.results.side_files import Kind, side_file
from rankstone.results.store import ResultStore, Staged
from rankstone.results.trec_run import read_run
from tests.adapters.storing import content, write_collection
from tests.records import make_record

Stored = tuple[list[Path], Callable[[], object]]
"""Files, and what is read from them."""


def collection(place: Path) -> Stored:
    task, sources = write_collection(place / "set", 20), Sources(data=None, cache=place / "cache")

    def read() -> object:
        opened = open_dataset(task, sources)
        opened.unchanged()
        return content(opened)

    read()
    folder = place / "cache" / "datasets"
    return [*folder.rglob("*.arrow"), *folder.rglob("*.json")], read


def archive(place: Path) -> Stored:
    packed, content = place / "a.tar.zst", place / "text"
    content.write_bytes(bytes(range(256)))
    with zstandard.open(packed, "wb") as out, tarfile.open(fileobj=out, mode="w|") as tar:
        tar.add(content, "text")

    def read() -> object:
        return (extracted(packed, place / "unpacked") / "text").read_bytes()

    read()
    return [place / "unpacked" / name for name in ("content/text", "meta.json")], read


def record_of(place: Path) -> tuple[ResultStore, RunRecord]:
    queries, values = [f"q{n}" for n in range(30)], np.linspace(0, 1, 30)
    (place / "run").write_bytes(
        zstandard.compress("".join(f"{q} Q0 d{q} 1 1.5 t\n" for q in queries).encode())
    )
    write_per_query(place / "values", queries, {"nDCG@10": values})
    write_latency(place / "latency", values, values)
    store = ResultStore(place / "results")
    files = Staged(run=place / "run", per_query=place / "values", latency=place / "latency")
    return store, store.write(make_record(), files)


def record(place: Path) -> Stored:
    store, stored = record_of(place)

    def read() -> object:
        [found] = store.each()
        if isinstance(found, RankstoneError):
            raise found
        return found

    return [store.path(stored)], read


def beside(kind: Kind, parse: Callable[[Path], object]) -> Callable[[Path], Stored]:
    def made(place: Path) -> Stored:
        store, stored = record_of(place)
        path = store.path(stored)

        def read() -> object:
            file = side_file(stored, path, kind)
            assert file is not None
            return repr(parse(file))

        return [path.with_name(stored.files[kind])], read

    return made


def shard(place: Path) -> Stored:
    path, vectors = place / "0.shard", np.random.default_rng(0).random((9, 7), np.float32)
    write_shard(path, vectors, documents=9, cost=Cost(1.0, 1.0, None), truncation=None)
    return [path], lambda: open_shard(path, read_info(path, 9)).tolist()


def answers(place: Path) -> Stored:
    path = place / "answers"
    answer_judgements._write(path, np.arange(0, 400, 3))
    good = answer_judgements._read(path).tolist()

    def read() -> object:
        # A damaged file counts as empty: its pairs are matched again.
        return answer_judgements._read(path).tolist() or good

    return [path], read


KINDS = {
    "collection": collection,
    "archive": archive,
    "record": record,
    "run": beside("run", read_run),
    "values per query": beside("per_query", read_per_query),
    "latencies": beside("latency", read_latency),
    "shard": shard,
    "answers": answers,
}


def flip(kind: str, place: Path, flips: int) -> int:
    """Flip one byte after another; return how many were refused, and fail where one is silent."""
    paths, read = KINDS[kind](place)
    expected, rng, refused = read(), random.Random(0), 0
    for _ in range(flips):
        path = rng.choice([path for path in paths if path.exists()])
        good = path.read_bytes()
        at = rng.randrange(len(good))
        path.write_bytes(good[:at] + bytes([good[at] ^ rng.randrange(1, 256)]) + good[at + 1 :])
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RankstoneWarning)
                assert read() == expected, (path, at)
        except (RankstoneError, DamagedShardError):
            refused += 1
        path.write_bytes(good)
        assert read() == expected
    return refused


@pytest.mark.parametrize("kind", KINDS)
def test_no_flip_is_silent(kind: str, tmp_path: Path) -> None:
    flip(kind, tmp_path, 15)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_no_flip_of_a_thousand_is_silent(kind: str, tmp_path: Path) -> None:
    flip(kind, tmp_path, 1000)
