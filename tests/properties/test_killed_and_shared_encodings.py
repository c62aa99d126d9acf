"""Processes that are killed while they fill the encoding cache, that share it, or lack the room."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rankstone.encodings.shards import read_info
from rankstone.errors import DataError

pytest.importorskip("resource", reason="limits and locks are POSIX")
from tests.adapters import filling
from tests.waiting import wait_for

CONTEXT = multiprocessing.get_context("forkserver")
PATIENCE_S = 120


@pytest.fixture(scope="module", autouse=True)
def preloaded():
    """Children are forked from a process that has imported everything: they begin at once."""
    CONTEXT.set_forkserver_preload(["tests.adapters.filling"])


def started(target, *arguments):
    process = CONTEXT.Process(target=target, args=arguments)
    process.start()
    return process


def finished(process):
    process.join(PATIENCE_S)
    return process.exitcode


def shards_in(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.shard"))


def whole_run_s(place: Path) -> float:
    """Seconds that a run takes here; the first also starts the server."""
    for attempt in range(2):
        begin = time.perf_counter()
        assert finished(started(filling.fill, place / f"{attempt}", place / "log")) == 0
    return time.perf_counter() - begin


@pytest.fixture(scope="module")
def run_s(tmp_path_factory, preloaded):
    return whole_run_s(tmp_path_factory.mktemp("measured"))


moments = st.lists(st.floats(0, 1), min_size=1, max_size=4)


@given(moments=moments)
@settings(
    max_examples=15,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_a_run_killed_at_any_moment_loses_a_shard_at_most(run_s, moments):
    """Killed some times, each at a share of a whole run's time, and then left to finish."""
    with tempfile.TemporaryDirectory() as name:
        folder, log = Path(name) / "cache", Path(name) / "log"
        log.touch()
        for moment in moments:
            victim = started(filling.fill, folder, log)
            victim.join(moment * run_s)
            victim.kill()
            victim.join(PATIENCE_S)
            for path in shards_in(folder):  # whole, or not there
                read_info(path, filling.SHARD)
        found = len(shards_in(folder))
        before = log.stat().st_size
        np.testing.assert_array_equal(filling.fill(folder, log), filling.expected())
        encoded = log.stat().st_size
        assert encoded - before == filling.DOCUMENTS - found * filling.SHARD
        assert encoded <= filling.DOCUMENTS + len(moments) * filling.SHARD


@pytest.mark.parametrize("processes", [2, 3])
def test_processes_share_the_work_of_a_corpus(tmp_path, processes):
    folder, log = tmp_path / "cache", tmp_path / "log"
    begin = time.time() + 0.5
    workers = [started(filling.fill_at, begin, folder, log, 0.02) for _ in range(processes)]
    assert [finished(worker) for worker in workers] == [0] * processes
    assert log.stat().st_size == filling.DOCUMENTS, "nothing was encoded twice"
    assert len(shards_in(folder)) == filling.DOCUMENTS // filling.SHARD


def test_processes_share_the_work_of_a_corpus_that_repeats_itself(tmp_path):
    """One of three is killed on the way. A text is encoded again while its shard is being made."""
    folder, log, distinct = tmp_path / "cache", tmp_path / "log", 20
    victim = started(filling.fill_with_repeats, distinct, 0.0, folder, log, 3600.0)
    assert wait_for(lambda: log.exists() and log.stat().st_size)
    workers = [
        started(filling.fill_with_repeats, distinct, 0.0, folder, log, 0.05) for _ in range(2)
    ]
    assert wait_for(lambda: shards_in(folder))
    victim.kill()
    assert [finished(worker) for worker in workers] == [0, 0]
    before = log.stat().st_size
    assert before >= distinct
    filling.fill_with_repeats(distinct, 0.0, folder, log, 0.0)
    assert log.stat().st_size == before, "all of it is kept"


def test_a_killed_process_holds_up_nobody(tmp_path):
    """It dies holding a claim; the other, which waits for that shard, encodes it."""
    folder, log = tmp_path / "cache", tmp_path / "log"
    victim = started(filling.fill, folder, log, 3600.0)
    assert wait_for(lambda: log.exists() and log.stat().st_size)
    other = started(filling.fill_at, 0.0, folder, log, 0.0)
    assert wait_for(lambda: len(shards_in(folder)) == 11)
    other.join(0.3)
    assert other.is_alive(), "it waits for the claimed shard, having encoded all others"
    victim.kill()
    victim.join(PATIENCE_S)
    assert finished(other) == 0
    assert log.stat().st_size == filling.DOCUMENTS + filling.SHARD


def test_a_file_that_may_not_grow_leaves_nothing_half_written(tmp_path):
    folder, said = tmp_path / "cache", tmp_path / "said"
    process = started(filling.fill_with_small_files, folder, tmp_path / "log", 300_000, said)
    assert finished(process) == 0
    assert said.read_text().startswith("DataError: ")
    assert "encodings cannot be written: File too large." in said.read_text()
    assert not [path for path in folder.rglob("*") if path.suffix in (".shard", ".tmp")]
    np.testing.assert_array_equal(filling.fill(folder, tmp_path / "log"), filling.expected())


@pytest.fixture
def small_disk():
    """A folder on a disk of its own of five megabytes, where one can be had."""
    if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a small disk; the limit on files covers the rest")
    folder = Path(tempfile.mkdtemp())
    try:
        if os.system(f"mount -t tmpfs -o size=5m none {folder} 2>/dev/null") != 0:
            pytest.skip("no small disk can be mounted here; the limit on files covers the rest")
        try:
            yield folder
        finally:
            os.system(f"umount {folder}")
    finally:
        folder.rmdir()


def test_a_disk_that_fills_keeps_what_is_finished(small_disk, tmp_path):
    log = tmp_path / "log"
    with pytest.raises(DataError, match=r"No space left on device.*--cache"):
        filling.fill(small_disk, log)
    kept = shards_in(small_disk)
    assert 0 < len(kept) < filling.DOCUMENTS // filling.SHARD
    assert not list(small_disk.rglob("*.tmp"))
    shutil.copytree(small_disk, tmp_path / "larger")
    before = log.stat().st_size
    np.testing.assert_array_equal(filling.fill(tmp_path / "larger", log), filling.expected())
    assert log.stat().st_size - before == filling.DOCUMENTS - len(kept) * filling.SHARD
