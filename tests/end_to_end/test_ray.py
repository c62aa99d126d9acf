"""Runs on a Ray cluster of several nodes on this machine, without a shared file system."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

import rankstone
from rankstone.encodings.cache import EncodingCache
from rankstone.encodings.shards import open_shard, read_info
from rankstone.errors import ClusterError
from rankstone.profiling.clock import Clock
from tests.adapters.hashing import Hashing, vector
from tests.beir_layout import write_beir
from tests.conftest import ROOT
from tests.waiting import wait_for

ray = pytest.importorskip("ray", reason="the extra 'ray' is not installed")

from rankstone.execution.cluster import machines  # noqa: E402
from rankstone.execution.cluster import nodes as cluster_nodes  # noqa: E402
from rankstone.execution.cluster.connection import QUIET, connected  # noqa: E402
from rankstone.execution.cluster.encoding import Task, encode  # noqa: E402
from rankstone.execution.cluster.failures import PassedError, mended  # noqa: E402
from rankstone.execution.cluster.nodes import Need, Nodes, alive  # noqa: E402
from rankstone.execution.cluster.parcels import Parcel  # noqa: E402
from rankstone.execution.cluster.slices import Builder  # noqa: E402
from rankstone.execution.process import Limits  # noqa: E402
from rankstone.runners.objects.method import object_method  # noqa: E402
from rankstone.runners.search.exact import flat  # noqa: E402

MIB = 2**20
DOCUMENTS, SHARD = 96, 8


class Texts:
    """Documents of which a third repeat earlier ones."""

    def __len__(self) -> int:
        return DOCUMENTS

    def texts(self, start: int, stop: int) -> list[str]:
        return self.take(range(start, stop))

    def take(self, positions: Any) -> list[str]:
        return [f"word{int(i) % 64} again{int(i) % 7}" for i in positions]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A head node without CPUs, and two nodes with separate caches."""
    from ray.cluster_utils import Cluster

    home = tmp_path_factory.mktemp("ray")
    path = os.pathsep.join([str(ROOT / "src"), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
    quiet = {**QUIET, "RAY_AUTH_TOKEN": "tests"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**quiet, "PYTHONPATH": path}.items():
            patch.setenv(name, value)
        small = {"object_store_memory": 80 * MIB, "include_dashboard": False}
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **small})

        def add(name: str, **more: Any) -> Any:
            cache = {"RANKSTONE_CACHE": str(home / name)}
            variables = {**cache, **more.pop("env_vars", {})}
            return made.add_node(num_cpus=1, env_vars=variables, **{**small, **more})

        made.add, made.home = add, home
        for name in ("one", "two"):
            add(name)
        try:
            with connected(made.address):
                made.wait_for_nodes()
                yield made
        finally:
            made.shutdown()


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    documents = {f"d{i}": f"letter{i % 640} word{i % 23}" for i in range(1500)}
    queries = {f"q{i}": f"letter{i} word{i % 23}" for i in range(30)}
    judged = [(f"q{i}", f"d{i}") for i in range(30)]
    return write_beir(tmp_path / "collection", documents, queries, test=judged)


def task(
    folder: Path,
    runner: Any = None,
    name: str = "hashing",
    limits: Limits = Limits(),  # noqa: B008
    **more: Any,
) -> Task:
    parcel, files = Parcel.of(object_method(runner or Hashing(name, **more)))
    cache = EncodingCache(
        folder=folder, corpus=Texts(), key_material={}, clock=Clock(), shard_size=SHARD
    )
    need = Need()
    return Task(
        name=name, parcel=parcel, files=files, number=0, cache=cache, need=need, limits=limits
    )


def stored(folder: Path) -> np.ndarray:
    paths = sorted(folder.rglob("*.shard"))
    return np.concatenate([open_shard(path, read_info(path)) for path in paths])


EXPECTED = np.array([vector(text) for text in Texts().texts(0, DOCUMENTS)])


def test_encodings_are_those_of_this_machine(cluster: Any, tmp_path: Path) -> None:
    about, _ = encode(task(tmp_path / "there"), Nodes())
    np.testing.assert_array_equal(stored(tmp_path / "there"), EXPECTED)
    here = task(tmp_path / "here").cache
    assert about.key == here.key(Hashing())
    np.testing.assert_array_equal(np.concatenate(list(here.chunks(Hashing()))), EXPECTED)
    there = [path.read_bytes() for path in sorted((tmp_path / "there" / about.key).glob("*.shard"))]
    assert len(there) == DOCUMENTS // SHARD


def kill_something(cluster: Any, moment_s: float, whole_node: bool, seed: int) -> None:
    """Kill a worker that encodes, or a node, which is then replaced."""
    time.sleep(moment_s)
    chosen = random.Random(seed)
    if whole_node:
        node = chosen.choice([n for n in cluster.list_all_nodes() if n is not cluster.head_node])
        cluster.remove_node(node, allow_graceful=False)
        cluster.add(f"new-{seed}")
        return
    if workers := running("ray::Encoder"):
        with contextlib.suppress(psutil.Error):
            chosen.choice(workers).send_signal(signal.SIGKILL)


def running(name: str) -> list[psutil.Process]:
    """Return processes of the cluster, which this one started, by a part of their command."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if name in " ".join(process.cmdline()):
                found.append(process)
    return found


def survives(cluster: Any, folder: Path, number: int) -> None:
    whole_node, moment_s = number % 2 == 1, random.Random(number).uniform(0.0, 3.0)
    with ThreadPoolExecutor(1) as pool:  # nodes are started in the main thread
        encoding = pool.submit(encode, task(folder, pause_s=0.2), Nodes())
        kill_something(cluster, moment_s, whole_node, number)
        encoding.result()
    np.testing.assert_array_equal(stored(folder), EXPECTED)


def test_a_lost_worker_costs_its_shards(cluster: Any, tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        encoding = pool.submit(encode, task(tmp_path, pause_s=0.2), Nodes())
        assert wait_for(lambda: [*tmp_path.rglob("*.shard")] or encoding.done())
        kill_something(cluster, 0.0, whole_node=False, seed=0)
        encoding.result()
    np.testing.assert_array_equal(stored(tmp_path), EXPECTED)


@pytest.mark.slow
def test_fifty_losses_lose_nothing(cluster: Any, tmp_path: Path) -> None:
    for number in range(50):
        survives(cluster, tmp_path / str(number), number)


@pytest.mark.slow
def test_a_shard_that_ends_its_workers_is_named(cluster: Any, tmp_path: Path) -> None:
    deadly = Texts().texts(20, 21)[0]
    with pytest.raises(ClusterError, match=r"shard 2 \(documents at positions 16 to 23\) ended"):
        encode(task(tmp_path, deadly=deadly), Nodes())
    assert len(list(tmp_path.rglob("*.shard"))) >= 2, "finished ones are kept"


@pytest.mark.slow
def test_an_adapters_error_is_that_of_a_local_run(cluster: Any, collection: Path) -> None:
    there, here = both(cluster, collection, Hashing(deadly="raise"))
    assert there.status == here.status == "failed"
    assert there.error.message == here.error.message == "ValueError: no vector for this"
    assert there.error.kind == here.error.kind


def both(cluster: Any, collection: Path, method: Any, **options: Any) -> tuple[Any, Any]:
    """Return records of a run on the cluster, and of one on this machine."""
    there, here = (
        rankstone.run(
            method,
            str(collection),
            results=collection / f"results-{address}",
            cache=collection / f"cache-{address}",
            ray=address or None,
            force=True,
            **options,
        )[0]
        for address in (cluster.address, "")
    )
    return there, here


@pytest.mark.parametrize("method", [Hashing(), pytest.param("bm25", marks=pytest.mark.slow)])
def test_cells_are_those_of_this_machine(cluster: Any, collection: Path, method: Any) -> None:
    there, here = both(cluster, collection, method)
    assert there.status == "ok", there.error
    assert there.measures == here.measures
    assert there.truncation == here.truncation
    assert there.provenance.cache_keys == here.provenance.cache_keys
    assert there.task == here.task
    assert there.method == here.method


PASSED = (
    (
        Limits(timeout_s=1, spent_s=0.5),
        "stopped after 1 s in phase 'encode_documents' (--timeout)",
        {},
    ),
    pytest.param(
        Limits(memory_bytes=700 * MIB),
        "more than 700 MiB resident in phase 'encode_documents' (--memory-limit)",
        {"hungry": 800 * MIB},
        marks=pytest.mark.slow,
    ),
)


@pytest.mark.parametrize(("limits", "words", "more"), PASSED)
def test_an_encoding_that_passes_a_limit_ends_with_the_words_of_a_local_cell(
    cluster: Any, tmp_path: Path, limits: Limits, words: str, more: dict[str, Any]
) -> None:
    with pytest.raises(PassedError) as passed:
        encode(task(tmp_path, limits=limits, pause_s=600.0, **more), Nodes())
    assert str(passed.value) == words
    assert wait_for(lambda: not running("ray::Encoder"))


@pytest.mark.slow
def test_a_sweep_continues_after_cells_that_exceed_a_limit(cluster: Any, collection: Path) -> None:
    late, large, good = rankstone.run(
        [Hashing("late", index_s=600.0), Hashing("large", hungry=3 * 2**30), Hashing("good")],
        str(collection),
        results=collection / "results",
        cache=collection / "cache",
        ray=cluster.address,
        timeout_s=20,
        memory_limit_bytes=2 * 2**30,
    )
    assert (late.status, large.status, good.status) == ("timeout", "oom", "ok")
    assert late.error.message == "stopped after 20 s in phase 'index' (--timeout)"
    assert large.error.kind == "MemoryLimit"
    assert wait_for(lambda: not running("ray::Seat"))


@pytest.mark.slow
@pytest.mark.parametrize("works_on", ["ray::Encoder.encode", "ray::Seat.measure"])
def test_an_interrupt_ends_what_runs_on_the_nodes(
    cluster: Any, collection: Path, works_on: str
) -> None:
    runners = collection / "runners" / "mine"
    runners.mkdir(parents=True)
    slow = "pause_s" if "Encoder" in works_on else "index_s"
    (runners / "slow.toml").write_text(
        'description = "d"\nadapter = "tests.adapters.hashing:Hashing"\n'
        f"[parameters]\n{slow} = 600.0\n"
    )
    folders = [f"--{name}={collection / name}" for name in ("cache", "results")]
    run = subprocess.Popen(
        [
            *(sys.executable, "-m", "rankstone", "run", "mine/slow", "--on", str(collection)),
            *("--workspace", str(collection), "--ray", cluster.address, *folders),
        ],
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ['PYTHONPATH']}"},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert wait_for(lambda: running(works_on)), run.communicate(timeout=1)
    run.send_signal(signal.SIGINT)
    interrupted = time.monotonic()
    _, printed = run.communicate(timeout=60)
    assert time.monotonic() - interrupted < 15
    assert run.returncode == 130
    assert "Interrupted: 0 of 1 cells are stored" in printed
    assert "Traceback" not in printed
    for name in ("ray::Encoder", "ray::Seat"):
        assert wait_for(lambda name=name: not running(name)), name
    assert wait_for(lambda: not running("execution.worker"))
    left = [
        *cluster.home.rglob(".cell-*"),
        *collection.rglob(".cell-*"),
        *collection.rglob("*.tmp"),
    ]
    assert left == []


@pytest.mark.slow
def test_a_node_without_the_package_is_named(cluster: Any, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['rankstone'] = None\n")
    known = {node.id for node in alive()}
    path = os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]])
    added = cluster.add("bare", env_vars={"PYTHONPATH": path})
    try:
        [bare] = [node for node in alive() if node.id not in known]
        with pytest.raises(ClusterError, match=r"has no rankstone. Install it there: pip install"):
            Nodes().facts(bare)
    finally:
        cluster.remove_node(added)


def test_a_need_that_no_node_meets_is_an_error_and_one_that_comes_is_waited_for(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_nodes, "grows", lambda: False)
    too_much = Need(memory_bytes=2**50)
    with pytest.raises(ClusterError, match=r"no node of the cluster has .*ray start --address"):
        Nodes()._waited(too_much, lambda *event: None)
    monkeypatch.setattr(cluster_nodes, "grows", lambda: True)
    asked: list[str] = []
    nodes = Nodes()

    def progress(work: str, done: int, total: int | None) -> None:
        asked.append(work)
        if len(asked) == 2:
            nodes.stopped.set()

    with pytest.raises(KeyboardInterrupt):
        nodes._waited(too_much, progress)
    assert asked[0].startswith("wait for a node with 1 CPUs, 1,048,576.0 GiB")


def test_errors_of_ray_state_a_remedy() -> None:
    from ray.exceptions import ObjectStoreFullError, OutOfDiskError, RaySystemError, RayTaskError

    for error in (ObjectStoreFullError("full"), OutOfDiskError("full")):
        assert "of a node is full" in str(mended(error))
        there = mended(RayTaskError("f", "Traceback", error).as_instanceof_cause(), "b")
        assert "of b is full" in str(there)
        assert "--object-store-memory" in str(there)
        assert "Traceback" not in str(there)
    assert "ray status" in str(mended(RaySystemError("odd")))
    assert mended(ValueError("own")).args == ("own",)


DRIVER = """
import sys
from pathlib import Path
from rankstone.execution.cluster.connection import connected
from rankstone.execution.cluster.encoding import encode
from rankstone.execution.cluster.nodes import Nodes
from tests.end_to_end.test_ray import task
with connected(sys.argv[1]):
    encode(task(Path(sys.argv[2]), pause_s=0.3), Nodes())
"""


@pytest.mark.slow
def test_a_driver_that_dies_is_resumed(cluster: Any, tmp_path: Path) -> None:
    path = os.pathsep.join([str(ROOT), str(ROOT / "src")])
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, cluster.address, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": path},
    )
    assert wait_for(lambda: len(list(tmp_path.rglob("*.shard"))) >= 3)
    driver.kill()
    driver.wait()
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.shard")}
    assert 3 <= len(kept) < DOCUMENTS // SHARD
    encode(task(tmp_path, pause_s=0.0), Nodes())
    np.testing.assert_array_equal(stored(tmp_path), EXPECTED)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_sliced_search_is_that_of_one_machine(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Vectors of small integers, so that nearly all scores are tied."""
    monkeypatch.setattr(flat, "BLOCK_BYTES", 100 * 4 * 8)
    vectors = np.random.default_rng(0).integers(0, 3, (1050, 8)).astype(np.float32)
    sliced = Builder(cluster.address, [node.id for node in alive()[:2]])(Pieces(vectors))
    whole = flat.ExactIndex.build(vectors)
    for n, k in ((1, 10), (30, 10), (30, 200), (2, 1050)):
        for found, expected in zip(
            sliced.search(vectors[:n], k), whole.search(vectors[:n], k), strict=True
        ):
            np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(np.concatenate(list(sliced.blocks())), vectors)
    assert sliced.nbytes() == vectors.nbytes
    for _, actor in sliced._slices:
        ray.kill(actor)


@pytest.mark.slow
def test_a_cell_beyond_the_memory_of_a_node_is_searched_in_slices(
    cluster: Any, collection: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machines, "_most_memory", lambda: 0)
    there, here = both(cluster, collection, Hashing())
    assert there.error is None
    assert there.measures == here.measures
    assert [note for note in there.warnings if "exact search asked 1 nodes" in note]


class Pieces:
    def __init__(self, vectors: np.ndarray) -> None:
        self._vectors = vectors

    def __len__(self) -> int:
        return len(self._vectors)

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter(np.array_split(self._vectors, 7))
