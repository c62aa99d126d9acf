"""Search during updates: a simulated index, brute force, and real cells."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rankstone
from rankstone.errors import AdapterError
from rankstone.execution.cell import CellRun
from rankstone.execution.events import EventStream
from rankstone.execution.job import Job
from rankstone.execution.load.updates import UpdateRun
from rankstone.profiling.load import summarise_load, summarise_updates
from rankstone.results.per_query import (
    BEFORE,
    COMPACT,
    COMPACTED,
    DELETE,
    INSERT,
    UPDATING,
    RawLoad,
    read_load,
    write_load,
)
from rankstone.results.record import LoadPlan
from rankstone.runners.protocols import Hits
from rankstone.runners.search.exact.flat import ExactIndex
from tests.unit.test_load import Virtual

N, QUERIES = 60, 4
RNG = np.random.default_rng(0)
DOCUMENTS = RNG.standard_normal((N, 5))
ASKED = RNG.standard_normal((QUERIES, 5))
BEST = np.argsort(-(ASKED @ DOCUMENTS.T), axis=1)
PLAN = LoadPlan(rates=(20,), updates=10, duration_s=6, arrivals="constant")


class Store:
    """Exact index whose searches take 1 ms, updates 4 ms and compaction 2 s.

    `forgets`: deletions are ignored.
    """

    def __init__(self, clock: Virtual, *, forgets: bool = False) -> None:
        self.clock, self.forgets = clock, forgets
        self.rows = {key: DOCUMENTS[key] for key in range(N)}
        self.history: list[tuple[str, list[int]]] = []

    def insert(self, keys: np.ndarray, documents: np.ndarray) -> None:
        assert not set(keys.tolist()) & self.rows.keys(), "a key is used once"
        self.clock.time += 0.004
        self.rows |= zip(keys.tolist(), documents, strict=True)
        self.history.append(("insert", keys.tolist()))

    def delete(self, keys: np.ndarray) -> None:
        self.clock.time += 0.004
        for key in keys.tolist():
            vector = self.rows.pop(key)
            if self.forgets:
                self.rows[key] = vector
        self.history.append(("delete", keys.tolist()))

    def ask(self, row: int) -> Hits:
        self.clock.time += 0.001
        keys = np.array(list(self.rows), dtype=np.int64)
        scores = np.array([ASKED[row] @ vector for vector in self.rows.values()], dtype=float)
        order = np.argsort(-scores)[:20]
        return Hits(keys[order][None], scores[order][None].astype(np.float32))


class Compacting(Store):
    def compact(self) -> None:
        self.clock.time += 2.0


def run(store: Store, plan: LoadPlan = PLAN, *, exact: bool = True) -> RawLoad:
    best: dict[int, Any] = dict(enumerate(BEST)) if exact else dict.fromkeys(range(QUERIES))
    take = DOCUMENTS.__getitem__
    return UpdateRun(
        plan, store, store.ask, take, best, n=N, seed=0, clock=store.clock
    ).run()  # fmt: skip


def test_an_exact_index_finds_the_best_of_the_live_documents() -> None:
    store = Compacting(Virtual())
    found = run(store)
    searches = found.where(found.row >= 0)
    assert searches.overlap.tolist() == [1.0] * len(searches.row)
    assert searches.same.tolist() == [1.0] * len(searches.row)
    assert [len(keys) for _, keys in store.history] == [N // 10] + [1] * 60
    assert [what for what, _ in store.history[1:5]] == ["insert", "delete"] * 2
    assert {key % N for key in store.rows} < set(range(N))
    assert len(store.rows) == N - N // 10
    by_trial = {number: found.where(found.trial == number) for number in np.unique(found.trial)}
    assert sorted(by_trial) == [COMPACTED, UPDATING, BEFORE]
    assert [(by_trial[UPDATING].row == kind).sum() for kind in (INSERT, DELETE, COMPACT)] == [
        30, 30, 1,
    ]  # fmt: skip
    assert (by_trial[BEFORE].row >= 0).all()


def test_an_index_that_forgets_its_deletions_is_found_out() -> None:
    figures = summarise_updates(PLAN, run(Store(Virtual(), forgets=True)))
    assert figures.before.stale > 0
    assert figures.before.recall_10 is not None
    assert figures.before.recall_10 < 1
    assert figures.compaction_s is None


def test_an_update_without_a_document_is_lost() -> None:
    """The only document is inserted once, and never deleted again."""
    store = Store(Virtual())
    store.rows = {0: DOCUMENTS[0]}
    best, take = {0: np.array([0])}, DOCUMENTS.__getitem__
    found = UpdateRun(PLAN, store, store.ask, take, best, n=1, seed=0, clock=store.clock).run()
    figures = summarise_updates(PLAN, found)
    assert store.history == [("delete", [0]), ("insert", [2])]
    assert (figures.inserts, figures.deletes, figures.lost) == (1, 0, 59)
    assert figures.delete is None


def test_figures_are_those_of_the_simulated_server(tmp_path: Path) -> None:
    plan = PLAN.model_copy(update={"p99_ms": None})
    offered = RawLoad.of([0, 1], [0.0, 0.1], [0.0, 0.1], [0.05, 0.2], [0, 0])
    requests = RawLoad.joined([offered, run(Compacting(Virtual()))])
    write_load(tmp_path / "load.parquet", requests)
    load = summarise_load(plan, [(20.0, None)], read_load(tmp_path / "load.parquet"), 20)
    found = load.updates
    assert found is not None
    assert (found.inserts, found.deletes, found.lost, load.queries) == (30, 30, 0, 2)
    assert found.compaction_s == pytest.approx(2.0)
    assert found.insert is not None
    assert found.insert.max_ms == pytest.approx(4.0)
    assert found.before.latency.max_ms == pytest.approx(1.0)
    assert len(found.meanwhile) == 10
    assert sum(part.searches for part in found.meanwhile) == 120
    assert sum(part.updates for part in found.meanwhile) == 60
    # Searches and updates arrive together every 100 ms; the search is served first.
    assert [part.latency.max_ms for part in found.meanwhile] == pytest.approx([1.0] * 10)
    assert [part.start_s for part in found.meanwhile] == pytest.approx(np.arange(10) * 0.6)
    unknown = summarise_updates(PLAN, run(Store(Virtual()), exact=False))
    assert unknown.after.recall_10 is None
    assert unknown.after.stale == 0


class Random(rankstone.Runner):
    """A random vector for each text: no two scores are equal."""

    cacheable = True

    def encode(self, texts: Any, role: str) -> Any:
        seeds = [zlib.crc32(text.encode()) for text in texts]
        return np.float32([np.random.default_rng(seed).standard_normal(8) for seed in seeds])

    def index(self, documents: Any, context: Any) -> ExactIndex:
        return ExactIndex.build(documents)


@pytest.fixture
def cell(tmp_path: Path) -> Callable[[Any], CellRun]:
    folder, rng = tmp_path / "words", np.random.default_rng(0)
    (folder / "qrels").mkdir(parents=True)
    texts = [" ".join(rng.choice(list("abcdefghijk"), 9)) for _ in range(80)]
    for name, rows in (("corpus", texts), ("queries", texts[:5])):
        lines = (json.dumps({"_id": f"{name[0]}{n}", "text": t}) for n, t in enumerate(rows))
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    (folder / "qrels" / "test.tsv").write_text("".join(f"q{n} 0 c{n} 1\n" for n in range(5)))
    here = rankstone.Session(cache=tmp_path / "cache", workspace=tmp_path)
    (tmp_path / "staging").mkdir()

    def made(method: Any) -> CellRun:
        job = Job(
            method=here.definitions.methods(method)[0], task=here.definitions.one_task(str(folder)),
            data=None, cache=tmp_path / "cache", staging=tmp_path / "staging", threads=1,
            workspace=tmp_path, load=PLAN.model_copy(update={"duration_s": 0.3, "updates": 50}),
        )  # fmt: skip
        return CellRun(job, EventStream(os.open(os.devnull, os.O_WRONLY)))

    return made


def test_a_cell_of_an_exact_engine_has_full_recall(cell: Callable[[Any], CellRun]) -> None:
    usearch = pytest.importorskip("rankstone.runners.search.engines.usearch_index")
    pytest.importorskip("usearch", reason="needs the extra 'engines'")
    measured = cell(usearch.USearch(members=(Random(),), exact=True)).run()
    load = measured.profile.load
    assert load is not None
    assert load.updates is not None
    assert load.updates.inserts + load.updates.deletes > 0
    parts = [load.updates.before, *load.updates.meanwhile, load.updates.after]
    assert [part.stale for part in parts] == [0] * len(parts)
    assert {part.recall_10 for part in parts} == {1.0}


def test_what_cannot_change_is_refused_before_it_is_searched(
    cell: Callable[[Any], CellRun],
) -> None:
    with pytest.raises(AdapterError, match="BM25Index cannot insert and delete"):
        cell("bm25").run()
