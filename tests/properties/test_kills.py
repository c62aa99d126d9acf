"""Processes that are killed while they store records and collections: nothing is wrong or lost."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import pytest

from rankstone.benchmarks.dataset import Sources
from rankstone.benchmarks.store import open_dataset
from rankstone.files import temporary_folder
from rankstone.results.per_query import read_per_query
from rankstone.results.record import RunRecord
from rankstone.results.side_files import side_file
from rankstone.results.store import ResultStore

pytest.importorskip("resource", reason="locks and signals are POSIX")
from tests.adapters import storing

CONTEXT = multiprocessing.get_context("forkserver")


def kill_some_times(tmp_path: Path, kills: int) -> None:
    CONTEXT.set_forkserver_preload(["tests.adapters.storing"])
    results, log, rng = tmp_path / "results", tmp_path / "log", random.Random(0)
    task = storing.write_collection(tmp_path / "set")
    expected = storing.content(open_dataset(task, Sources(data=None, cache=tmp_path / "whole")))
    for kill in range(kills):
        log.write_text("")
        caches = tmp_path / f"caches-{kill}"
        arguments = (results, task.model_dump_json(), caches, log)
        victim = CONTEXT.Process(target=storing.store_for_ever, args=arguments)
        victim.start()
        while not log.read_text():
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.15))
        os.kill(victim.pid, signal.SIGKILL)
        victim.join()
        check_records(results, log)
        for cache in caches.glob("*"):  # a process killed early made none
            found = open_dataset(task, Sources(data=None, cache=cache))
            assert storing.content(found) == expected
    with temporary_folder(results, ".cell-{}"):
        assert len(list(results.glob(".cell-*"))) == 1, "those of killed processes are gone"


def check_records(results: Path, log: Path) -> None:
    """The last record logged for each cell is there, or a later one; each with its own values."""
    logged = dict(line.split() for line in log.read_text().splitlines())
    store = ResultStore(results)
    found = list(store.each())
    records = {read.method.name: read for read in found if isinstance(read, RunRecord)}
    assert len(records) == len(found)
    for method, number in logged.items():
        record = records[method]
        assert int(record.warnings[0]) >= int(number)
        file = side_file(record, store.path(record), "per_query")
        assert file is not None
        assert read_per_query(file).measures["nDCG@10"].tolist() == [float(record.warnings[0])]


def test_what_killed_processes_wrote_is_right(tmp_path: Path) -> None:
    kill_some_times(tmp_path, 3)


@pytest.mark.slow
def test_two_hundred_kills_damage_nothing(tmp_path: Path) -> None:
    kill_some_times(tmp_path, 200)
