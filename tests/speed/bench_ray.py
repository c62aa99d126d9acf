"""Encoding spread over a Ray cluster: 1 to 64 actors that sleep as long as a GPU would encode.

An actor takes PAUSE_S for a shard of 1,024 passages, the time of a bge-base on an H100, and returns
vectors of 768 dimensions: what is measured is everything else. This process reads the texts, sends
them, and writes the shards. All runs on one machine: the lines state how many of its cores this
process took, and how many the actors and Ray, whose part a cluster has on other machines.

    python -m tests.speed.bench_ray [ACTORS ...]   prints the lines of these numbers of actors
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil

import rankstone
from rankstone.files import GIB

ACTORS = (1, 8, 32, 64)
SHARDS_EACH = 20
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_TOKEN": "bench",
    "RAY_enable_worker_prestart": "0",  # starts no processes but those of the actors
    "RAY_prestart_worker_first_driver": "0",
    "RAY_worker_register_timeout_seconds": "600",  # 64 processes start on few cores
}
PAUSE_S, DIM, WORDS = 0.5, 768, 56
SHARD = 1024


class Sleeping(rankstone.Runner):
    cacheable = True

    def describe(self) -> dict[str, Any]:
        return {"name": "sleeping"}

    def encode(self, texts: Any, role: str) -> np.ndarray:
        time.sleep(PAUSE_S if len(texts) > 1 else 0.0)
        return np.ones((len(texts), DIM), np.float32)

    def index(self, documents: Any, context: Any) -> Any:
        raise NotImplementedError


class Texts:
    def __init__(self, shards: int) -> None:
        self._n = shards * SHARD

    def __len__(self) -> int:
        return self._n

    def texts(self, start: int, stop: int) -> list[str]:
        return [f"{i} " + "passage " * WORDS for i in range(start, stop)]

    def take(self, positions: Any) -> list[str]:
        return [text for i in positions for text in self.texts(int(i), int(i) + 1)]


class Ready:
    """Actors that have started, in place of `Workers`."""

    def __init__(self, ready: list[Any]) -> None:
        self.ready = ready

    def look(self, wanted: int) -> None:
        """Start no more."""

    def check(self) -> None:
        """Limit no time."""


def task_of(folder: Path, shards: int) -> Any:
    from rankstone.encodings.cache import EncodingCache
    from rankstone.execution.cluster.encoding import Task
    from rankstone.execution.cluster.nodes import Need
    from rankstone.execution.cluster.parcels import Parcel
    from rankstone.profiling.clock import Clock
    from rankstone.runners.objects.method import object_method

    parcel, files = Parcel.of(object_method(Sleeping()))
    cache = EncodingCache(folder=folder, corpus=Texts(shards), key_material={}, clock=Clock())
    need = Need()
    return Task(
        name="sleeping", parcel=parcel, files=files, number=0, cache=cache, need=need, cpus=1
    )


def cpu_of(processes: list[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def efficiency(ready: list[Any], nodes: Any, folder: Path) -> tuple[float, float, float]:
    """Return the share of the time in which the actors encode, and the cores that this process
    took, and those that its children took: the actors, and Ray."""
    from rankstone.encodings.cache import ShardedChunks
    from rankstone.execution.cluster.encoding import Described, _Spread

    shards = SHARDS_EACH * len(ready)
    task = task_of(folder, shards)
    about = ready[0].about
    chunks = ShardedChunks(task.cache, Described(about.described), about.key, about.adapter)
    _ = task.cache.repeats  # one pass over the texts, before any is encoded
    others = psutil.Process().children(recursive=True)
    start, cpu, theirs = time.perf_counter(), time.process_time(), cpu_of(others)
    _Spread(task, chunks, Ready(ready), nodes).run()
    wall = time.perf_counter() - start
    assert len(chunks.missing()) == 0
    own, theirs = time.process_time() - cpu, cpu_of(others) - theirs
    return SHARDS_EACH * PAUSE_S / wall, own / wall, theirs / wall


def lines(numbers: tuple[int, ...] = ACTORS) -> Iterator[str]:
    if importlib.util.find_spec("ray") is None:
        sys.stderr.write("bench_ray: the extra 'ray' is not installed\n")
        return
    os.environ.update(QUIET)
    import ray

    from rankstone.execution.cluster.encoding import Workers
    from rankstone.execution.cluster.nodes import Nodes

    folder = Path(tempfile.mkdtemp(prefix="rankstone-ray-"))
    ray.init(
        num_cpus=max(numbers), object_store_memory=GIB, include_dashboard=False,
        log_to_driver=False, logging_level="error",
    )  # fmt: skip
    nodes = Nodes()
    workers = Workers(task_of(folder / "start", 1), nodes)
    try:
        while len(workers.ready) < max(numbers):
            workers.look(max(numbers))
            time.sleep(0.2)
        for actors in numbers:
            share, own, theirs = efficiency(workers.ready[:actors], nodes, folder / str(actors))
            shutil.rmtree(folder / str(actors))
            goal = 0.9 if actors <= 32 else 0
            yield (
                f"speed ray_{actors}_actors ratio={share:.2f} goal=>={goal}"
                f" peer=no overhead, driver on {own:.2f} cores, actors and Ray on {theirs:.2f}"
            )
    finally:
        workers.close()
        ray.shutdown()
        shutil.rmtree(folder)


if __name__ == "__main__":
    for line in lines(tuple(map(int, sys.argv[1:])) or ACTORS):
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
