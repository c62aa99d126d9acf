"""A small form of the generated collection of `tests/speed/bench_scale.py`, and all its steps."""

from __future__ import annotations

import hashlib
import json
import statistics
import threading
from pathlib import Path
from time import process_time

import numpy as np
import pytest

from rankstone.profiling.memory import peak_rss
from tests.speed import bench_scale, growth, scale

N = 20_000
needs_peaks = pytest.mark.skipif(peak_rss() is None, reason="the kernel shows no peak memory")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scale")
    bench_scale.make_collection(folder / "data" / bench_scale.TASK.dataset, N)
    return folder


@pytest.fixture(scope="module")
def written(root: Path) -> list[str]:
    """The texts, read with json alone."""
    with (root / "data" / bench_scale.TASK.dataset / "corpus.jsonl").open(encoding="utf-8") as file:
        return [json.loads(line)["text"] for line in file]


def test_passages_are_as_long_as_those_of_ms_marco(written: list[str]) -> None:
    """MS MARCO: 8.8 million passages of 56 words and 335 characters on average."""
    assert len(written) == N
    assert statistics.fmean(len(text.split()) for text in written) == pytest.approx(56.3, abs=1)
    assert statistics.fmean(map(len, written)) == pytest.approx(335, rel=0.03)


def test_the_collection_is_the_same_each_time(root: Path, tmp_path: Path) -> None:
    bench_scale.make_collection(tmp_path / "again", N)
    made = root / "data" / bench_scale.TASK.dataset
    for name in ("corpus.jsonl", "queries.jsonl", "qrels/dev.tsv"):
        assert (tmp_path / "again" / name).read_bytes() == (made / name).read_bytes()


def test_the_opened_data_equal_the_written_data(root: Path, written: list[str]) -> None:
    dataset = bench_scale.opened(root)
    assert dataset.corpus.texts(0, N) == written
    chosen = np.random.default_rng(0).integers(0, N, 500)
    assert dataset.corpus.take(chosen) == [written[position] for position in chosen]
    assert len(dataset.query_ids) == bench_scale.N_QUERIES
    assert len(dataset.judgements.label) == bench_scale.N_JUDGEMENTS


@needs_peaks
def test_every_step_runs_in_its_own_process(root: Path) -> None:
    pytest.importorskip("beir")
    ours, theirs = (
        bench_scale.measured(step, root) for step in (bench_scale.prepare, bench_scale.load_by_beir)
    )
    assert ours["n"] == theirs["n"] == N
    assert bench_scale.measured(bench_scale.read, root)["rate"] > 0


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="the kernel counts no waits")
def test_the_time_on_cores_is_that_of_every_thread() -> None:
    def hash_for_long() -> None:
        hashlib.sha256(bytes(200 << 20))

    before = process_time()
    with bench_scale.CoreTime() as spent:
        threads = [threading.Thread(target=hash_for_long) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert spent.seconds() > 0.7 * (process_time() - before)


@needs_peaks
def test_the_memory_of_preparing_is_that_of_a_few_batches(tmp_path: Path) -> None:
    """Eleven times the passages need less additional memory than their 67 MB of text."""
    peaks = []
    for n in (N, 11 * N):
        root = tmp_path / str(n)
        bench_scale.make_collection(root / "data" / bench_scale.TASK.dataset, n)
        peaks.append(bench_scale.measured(bench_scale.prepare, root)["rss"])
    assert peaks[1] - peaks[0] < 10 * N * 335


def test_a_line_through_the_sizes_is_extrapolated() -> None:
    """Peaks of 100 MB plus 20 bytes per passage are 520 MB at 21 million passages."""
    sizes = [
        {"n": n, "wall_s": n / 50_000, "cpu_s": 1.0, "rss": 1e8 + 20 * n}
        for n in (1_000_000, 2_000_000, 8_000_000)
    ]
    pace, memory = bench_scale.growth(sizes)
    assert "ratio=1.00" in pace
    assert f"ratio={(1e8 + 20 * 21_015_324) / 2**30:.2f}" in memory


def test_what_grows_by_a_line_is_on_it_and_what_grows_faster_is_not() -> None:
    sizes = [1000 * 2**power for power in range(5)]
    line = [5.0 + 0.01 * n for n in sizes]
    assert growth.deviation(sizes, line, small=1) == pytest.approx(0, abs=1e-9)
    assert (
        growth.deviation(sizes, [y * (1 + 0.04 * (-1) ** n) for n, y in enumerate(line)], 1) < 0.1
    )
    assert growth.deviation(sizes, [1e-6 * n**1.5 * 20 for n in sizes], small=1) > 0.2
    assert growth.deviation(sizes, [1e-8 * n * n for n in sizes], small=10) == 0, "all are small"


def test_a_record_that_cannot_be_read_ends_the_job(tmp_path: Path) -> None:
    (tmp_path / "results" / "task").mkdir(parents=True)
    (tmp_path / "results" / "task" / "method@12345678.json").write_text('{"schema_version": 999}')
    with pytest.raises(SystemExit, match="cannot be read"):
        scale.Job(tmp_path, 1).records()


def test_a_job_beyond_a_limit_fails() -> None:
    well = {"wall_s": 89 * 60, "peak_bytes": 12 << 30}
    assert not list(scale.limits_exceeded(well))
    assert len(list(scale.limits_exceeded({"wall_s": 91 * 60, "peak_bytes": 13 << 30}))) == 2


@pytest.mark.slow
def test_a_tenth_of_the_whole_job_is_killed_and_resumed(tmp_path: Path) -> None:
    report = scale.whole_job(scale.Job(tmp_path / "job", scale.PASSAGES // 10))
    assert report["faults"] == []
    assert report["killed_after_s"], "it ended before half of the vectors were stored"
    for method in scale.METHODS:
        assert report["quality"][method]["queries"]["n"] == bench_scale.N_QUERIES


def test_the_page_shows_the_stored_figures() -> None:
    """Otherwise: python tests/speed/growth.py --page"""
    files = [growth.DOCS / name for name in ("growth.json", "growth-whole.json")]
    read = [json.loads(path.read_text()) if path.exists() else None for path in files]
    if read[0] is None:
        pytest.skip("no figures are stored: make growth")
    assert (growth.DOCS / "growth.md").read_text() == growth.page(*read)
