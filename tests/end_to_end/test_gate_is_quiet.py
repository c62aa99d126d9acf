"""False alarms of the gate for changes without effect, over hundreds of real trials."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rankstone.benchmarks.dataset import Dataset, Sources
from rankstone.benchmarks.store import open_dataset
from rankstone.evaluation.evaluate import evaluate
from rankstone.files import sha256_of
from rankstone.leaderboards.gate import Judgement, judge, judge_ratio
from rankstone.leaderboards.gates.rules import CostRule, GateRules
from rankstone.profiling.latency import summarise
from rankstone.results.per_query import write_per_query
from rankstone.results.record import Files, RunRecord
from rankstone.results.store import Stored
from rankstone.runners.construct import build_runner
from rankstone.runners.protocols import AnyRunner
from rankstone.runners.testing import MemoryChunks, PlainContext
from rankstone.specs import MethodSpec
from rankstone.workspace import Workspace
from tests.conftest import ROOT
from tests.records import make_record

RANDOM = (
    # Methods that a seed changes, over WordLlama's vectors, and how many seeds: 210, 210, 45 pairs.
    ("stdlib/modules", "compressed/minilm-pq24", {"subvectors": 32}, 21),
    ("stdlib/modules", "ann/minilm-hnsw", {}, 21),
    ("stdlib/functions", "ann/minilm-ivf", {}, 10),
)
PLACE = Workspace.find(ROOT)
ENCODER = PLACE.method("dense/wordllama-256")


class Kept:
    """Corpus that is encoded once for all seeds."""

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        self.vectors = vectors

    def __len__(self) -> int:
        return len(self.vectors)

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        yield self.vectors

    def take(self, positions: NDArray[np.int64]) -> NDArray[np.float32]:
        return self.vectors[positions]

    def sample(self, n: int, seed: int) -> NDArray[np.float32]:
        return self.take(np.sort(np.random.default_rng(seed).permutation(len(self))[:n]))


@dataclass(kw_only=True)
class Shared(PlainContext):
    vectors: Kept

    def encoded(self, runner: AnyRunner) -> Any:
        return self.vectors


def dataset_of(task: str) -> Dataset:
    return open_dataset(PLACE.task(task), Sources.find())


def reruns(
    task: str, method: str, changes: dict[str, Any], seeds: int, folder: Path
) -> list[Stored]:
    """Return records of the same method, one per seed, the first seed twice."""
    dataset = dataset_of(task)
    base = PLACE.method(method)
    spec = MethodSpec(
        name=method, description="d", adapter=base.adapter, members=(ENCODER,),
        parameters={**base.parameters, **changes},
    )  # fmt: skip
    runner, encoder = build_runner(spec), build_runner(ENCODER)
    texts = dataset.corpus.texts(0, len(dataset.corpus))
    vectors = Kept(encoder.encode(list(texts), "document"))
    queries = encoder.encode(list(dataset.query_texts), "query")
    made = []
    for n, seed in enumerate([0, *range(seeds)]):
        work = folder / f"work{n}"
        work.mkdir()
        context = Shared(texts=texts, work=work, seed=seed, vectors=vectors)
        hits = runner.index(vectors, context).search(queries, dataset.task.depth)
        found = evaluate(hits, dataset, measures=["nDCG@10"])
        values = folder / f"{n}.parquet"
        write_per_query(values, found.query_ids, found.per_query)
        files = Files(per_query=values.name, per_query_sha256=sha256_of(values))
        made.append((make_record(method, task, files=files), folder / f"{n}.json"))
    return made


def judged(baseline: Stored, candidate: Stored) -> Judgement:
    cell = baseline[0].method.name, baseline[0].task.name
    (one,) = judge({cell: baseline}, {cell: candidate}, GateRules())
    return one


@pytest.mark.filterwarnings("ignore::rankstone.errors.RankstoneWarning")
@pytest.mark.parametrize(
    "share", [pytest.param(1.0, marks=pytest.mark.slow), 0.25], ids=["465 trials", "20 of them"]
)
def test_other_seeds_are_rarely_an_alarm_and_the_same_seed_never(
    tmp_path: Path, share: float
) -> None:
    alarms: dict[str, int] = {}
    trials = changed = 0
    for task, method, changes, seeds in RANDOM[: 3 if share == 1 else 2]:
        folder = tmp_path / Path(method).name
        folder.mkdir()
        first, *others = reruns(task, method, changes, int(share * seeds), folder)
        again = judged(first, others[0])
        assert again.verdict == "equivalent"
        assert "differs" in again.detail
        found = [judged(*pair) for pair in itertools.combinations(others, 2)]
        trials += len(found)
        changed += sum(one.baseline != one.candidate for one in found)
        alarms[method] = sum(one.outcome == "fail" for one in found)
    assert trials >= 200 * share**2
    assert changed > 0.9 * trials  # the seed does change what is found
    assert sum(alarms.values()) < 0.05 * trials, alarms


Pass = Callable[[], RunRecord]
RULE = CostRule(figure="median latency", allowance=1.1)


@pytest.fixture(scope="module")
def timed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[float], Pass]:
    """One timed pass of BM25 over queries of stdlib/modules, slowed down by a factor."""
    dataset = dataset_of("stdlib/modules")
    runner = build_runner(PLACE.method("lexical/bm25"))
    texts = dataset.corpus.texts(0, len(dataset.corpus))
    context = PlainContext(texts=texts, work=tmp_path_factory.mktemp("work"))
    index = runner.index(MemoryChunks(runner, texts, chunk_size=len(texts)), context)
    queries = list(dataset.query_texts)[:60]
    plain = make_record()

    def one_pass(share: float) -> RunRecord:
        taken = []
        for query in queries:
            start = time.perf_counter()
            index.search(runner.encode([query], "query"), 100)
            stop = time.perf_counter()
            until = stop + share * (stop - start)
            while share and time.perf_counter() < until:
                pass
            taken.append(1000 * (time.perf_counter() - start))
        latency = summarise(np.zeros(len(taken)), np.array(taken), warmup=0, threads=1, k=100)
        return plain.model_copy(
            update={"profile": plain.profile.model_copy(update={"latency": latency})}
        )

    return lambda share: partial(one_pass, share)


def in_turns(baseline: Pass, candidate: Pass, rounds: int) -> Judgement:
    """Measure both sides as `--ab` does, but within this process."""
    sides: tuple[list[RunRecord], list[RunRecord]] = [], []
    for number in range(rounds):
        order = [(baseline, sides[0]), (candidate, sides[1])]
        for measure, records in order if number % 2 == 0 else reversed(order):
            records.append(measure())
    return judge_ratio(RULE, *sides, level=0.05)


@pytest.mark.slow  # simulated in tests/unit/test_inference_faults.py
def test_the_same_code_is_rarely_slower(timed: Callable[[float], Pass]) -> None:
    same = timed(0.0)
    alarms = sum(in_turns(same, same, 4).outcome == "fail" for _ in range(100))
    assert alarms < 5


@pytest.mark.slow  # simulated in tests/unit/test_gate.py
def test_a_fifth_slower_is_seen(timed: Callable[[float], Pass]) -> None:
    """Interleaved real timings; separate processes would take minutes (test_gate_catches)."""
    one = in_turns(timed(0.0), timed(0.2), 120)
    assert one.verdict == "shown", one.detail
