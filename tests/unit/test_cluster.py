"""Cluster runs without a cluster: options, addresses, versions, files, progress."""

from __future__ import annotations

import contextlib
import importlib.util
import socket
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import rankstone
from rankstone.benchmarks.dataset import RawDataset
from rankstone.cli.run import RunCommand
from rankstone.encodings.filling import ShardWork
from rankstone.errors import ClusterError, DataError, DoesNotFitError, MissingExtraError
from rankstone.execution.cluster import connection, encoding
from rankstone.execution.cluster.encoder import Encoder
from rankstone.execution.cluster.failures import Failed
from rankstone.execution.cluster.machines import Cluster, _SharedReporter
from rankstone.execution.cluster.nodes import Facts, Need, Node
from rankstone.execution.cluster.parcels import File, Receiver, _moved, send
from rankstone.execution.events import ElsewhereError
from rankstone.execution.job import Job
from rankstone.execution.process import Limits, interrupted
from rankstone.execution.sweep import Machine
from rankstone.results.record import Forecast
from rankstone.specs import MethodSpec, ModelSpec


def test_without_ray_the_install_line_is_stated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'rankstone\[ray\]'"):
        rankstone.run("bm25", "stdlib/functions", results=tmp_path, ray=True)


@pytest.mark.parametrize(
    ("answer", "is_ray"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", False),
        (b"", False),
        (bytes.fromhex("000018040000000000"), True),  # the first frame of Ray 2.60.0
    ],
)
def test_an_address_that_is_not_a_cluster_head_is_refused(answer: bytes, is_ray: bool) -> None:
    here, there = socket.socketpair()
    with here, there:
        there.sendall(answer)
        there.shutdown(socket.SHUT_WR)
        with (
            contextlib.nullcontext()
            if is_ray
            else pytest.raises(ConnectionError, match="not the head")
        ):
            connection._refuse_other(here)
        assert there.recv(100).startswith(b"PRI * HTTP/2.0")


def test_an_address_where_nothing_answers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(ClusterError, match=rf"127.0.0.1:{port}: nothing answers.*ray start"):
        connection._refuse_unreachable(f"127.0.0.1:{port}")
    monkeypatch.setattr(connection, "REACH_S", 0.2)
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(ClusterError, match="nothing answers there: timed out"),
    ):
        connection._refuse_unreachable(f"127.0.0.1:{silent.getsockname()[1]}")
    with pytest.raises(ClusterError, match=r"--ray somewhere: .*HOST:PORT"):
        connection._refuse_unreachable("somewhere")
    monkeypatch.setenv("RAY_ADDRESS", "elsewhere")
    monkeypatch.setattr(connection, "refuse_missing", lambda: None)
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: False))
    with pytest.raises(ClusterError, match=r"^RAY_ADDRESS elsewhere: "), connection.connected(""):
        pass


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": "9.9"}, r"node b has rankstone 9.9 \(here .*pip install rankstone=="),
        ({"python": "2.7"}, r"python 2.7"),
        ({"packages": {"numpy": "1.0"}}, r"numpy 1.0 \(here .*pip install numpy=="),
        ({"code": "other"}, r"other code than this machine"),
    ],
)
def test_a_node_with_other_versions_is_refused(changes: dict[str, Any], message: str) -> None:
    here = Facts.here()
    here.refuse_unlike(here._replace(fingerprint="other"), "b")
    here.refuse_unlike(here._replace(packages={"not-here": "1"}), "b")
    with pytest.raises(ClusterError, match=message):
        here.refuse_unlike(here._replace(**changes), "b")


@pytest.mark.parametrize(
    ("given", "parsed"),
    [
        (["bm25", "--on", "x", "--ray"], "auto"),
        (["--ray", "--on", "x", "bm25"], "auto"),
        (["bm25", "--ray", "head:6379", "--on", "x"], "head:6379"),
        (["bm25", "--on", "x"], None),
    ],
)
def test_the_address_may_be_left_out(
    given: list[str], parsed: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.core import TyperCommand

    seen: list[list[str]] = []
    monkeypatch.setattr(TyperCommand, "parse_args", lambda self, ctx, args: seen.append(args))
    RunCommand.parse_args(RunCommand(name="run"), None, given)  # type: ignore[arg-type]
    after = dict(zip(seen[0], seen[0][1:], strict=False))
    assert after.get("--ray") == parsed
    assert [one for one in seen[0] if one not in ("auto", "--ray", parsed)] == [
        one for one in given if one not in ("--ray", parsed)
    ]


def test_needs_are_compared_with_resources() -> None:
    need = Need(memory_bytes=2**30, cpus=2, gpus=1)
    assert str(need) == "2 CPUs, 1 GPUs, 1.0 GiB of memory"
    assert need.within({"CPU": 2, "GPU": 1, "memory": 2**30})
    assert not need.within({"CPU": 64, "memory": 2**40})


def test_files_arrive_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANKSTONE_CACHE", str(tmp_path / "node"))
    source = tmp_path / "weights.bin"
    source.write_bytes(bytes(range(256)))
    from rankstone.files import sha256_of

    file, node = File.of("models/a/weights.bin", source, sha256_of(source)), Receiver()
    assert node.lacking([file]) == [file]
    node.write(file, 100, source.read_bytes()[100:])  # pieces arrive in any order
    assert "arrived damaged" in node.finish(file).message  # type: ignore[union-attr]
    for offset in (100, 0):
        node.write(file, offset, source.read_bytes()[offset : offset + 156])
    node.finish(file)
    assert node.lacking([file]) == []
    (tmp_path / "node" / file.name).write_bytes(bytes(256))
    assert node.lacking([file]) == [file], "another content of the same size"


def test_local_weights_move_into_the_nodes_cache(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "model.safetensors").write_bytes(b"weights")
    model = ModelSpec(id="mine", path=str(tmp_path), folder="inner")
    one = MethodSpec(name="a/b", description="", adapter="dense", model=model)
    files: dict[File, Path] = {}
    moved = _moved(one.model_copy(update={"members": (one,)}), files)
    [file] = files
    assert moved.members[0].model.path == moved.model.path
    home = moved.model.path.removeprefix("${RANKSTONE_CACHE}/")
    assert file.name == f"{home}/inner/model.safetensors"
    assert moved.digest() == one.model_copy(update={"members": (one,)}).digest()


def test_a_damaged_copy_of_another_machines_collection_is_an_error() -> None:
    raw = RawDataset.elsewhere(source="there", fingerprint="abc")
    with pytest.raises(DataError, match="sent from another machine"):
        raw.documents()


def test_copied_and_fresh_rows_come_together_in_order() -> None:
    work = ShardWork(0, list("abcd"), np.array([1, 2]), np.array([7, 5]))
    assert work.fresh.tolist() == [0, 3]
    fresh = np.array([[10.0], [13.0]])
    whole = work.whole(fresh, lambda documents: documents[:, None].astype(float))
    assert whole.tolist() == [[10], [7], [5], [13]]


def test_one_of_several_cells_is_followed_and_all_are_reported() -> None:
    events: list[Any] = []

    class Reporter:
        def __call__(self, work: str, done: int, total: int | None, /) -> None:
            events.append(work)

        def started(self, cell: str) -> None:
            events.append(f"started {cell}")

        def finished(self, record: Any, *, reused: bool, seconds: float) -> None:
            events.append(f"finished {record}")

    shared = _SharedReporter(Reporter())
    one, two = shared.of(), shared.of()
    one.started("one")
    two.started("two")
    one("index", 1, 2)
    two("search", 1, 2)
    two.finished("second", reused=False, seconds=1.0)  # type: ignore[arg-type]
    two.started("two")
    one("latency", 1, 2)
    assert events == ["started one", "index", "finished second", "started one", "latency"]


def test_an_actor_that_starts_while_the_encoding_ends_is_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Otherwise it would keep the CPUs of its node, and the next cell there would wait forever."""
    started, closed, ended = threading.Event(), threading.Event(), list[Any]()

    def remote(*_: Any) -> str:
        started.set()
        assert closed.wait(60)
        return "actor"

    actors = SimpleNamespace(options=lambda **_: SimpleNamespace(remote=remote))
    ray = SimpleNamespace(remote=lambda _: actors, kill=ended.append)
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setattr(encoding, "send", lambda *_: encoding.checked(Failed("Lost", "", None)))
    monkeypatch.setattr(Node, "options", lambda *_, **__: {})
    node = Node(id="a", host="b", resources={"CPU": 1})
    one = iter([node])
    nodes: Any = SimpleNamespace(
        take=lambda _: next(one, None), give_back=lambda _: None, get=lambda asked: asked
    )
    task: Any = SimpleNamespace(need=Need(), cpus=None, cache=None, files={}, limits=Limits())
    workers = encoding.Workers(task, nodes)
    workers.look(1)
    assert started.wait(60)
    workers.close()
    closed.set()
    workers._pool.shutdown(wait=True)
    assert ended == ["actor"]


def test_results_are_fetched_no_faster_than_they_are_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Otherwise the vectors of fast actors would fill the memory of this process."""
    nothing: Any = None
    shards, lock, held, most = 30, threading.Lock(), [0], [0]

    def changed(by: int) -> None:
        with lock:
            held[0] += by
            most[0] = max(most[0], held[0])

    def fetched(ready: int) -> Any:
        changed(1)
        return SimpleNamespace(cost=SimpleNamespace(peak_flops_per_s=None))

    def write(*_: Any) -> None:
        time.sleep(0.002)
        changed(-1)

    ray = SimpleNamespace(get=fetched, wait=lambda asked, **_: (asked, []))
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setattr(encoding, "request", lambda *_: None)
    monkeypatch.setattr(encoding, "WRITERS", 1)
    monkeypatch.setattr(encoding, "UNWRITTEN", 3)
    chunks: Any = SimpleNamespace(
        missing=lambda: range(shards),
        needs=lambda part: set(),
        has=lambda part: False,
        claimed=lambda part: contextlib.nullcontext(True),
        work=lambda part: SimpleNamespace(part=part),
        write=write,
        add=lambda part, info: added.append(part),
    )
    actor = SimpleNamespace(encode=SimpleNamespace(remote=lambda work: work.part))
    node, about, added = Node(id="a", host="b", resources={}), nothing, list[int]()
    workers: Any = SimpleNamespace(
        ready=[encoding.Worker(actor, node, about)], look=lambda wanted: None, check=lambda: None
    )
    nodes, task = SimpleNamespace(pause=lambda s: None), SimpleNamespace(need=Need())
    encoding._Spread(task, chunks, workers, nodes).run()  # type: ignore[arg-type]
    assert sorted(added) == [*range(shards)]
    assert most[0] <= encoding.UNWRITTEN + encoding.AHEAD


def test_the_time_of_encoding_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = Limits(timeout_s=1000, spent_s=600)
    workers = encoding.Workers(SimpleNamespace(limits=limits), None)  # type: ignore[arg-type]
    workers.check()  # nothing has started
    workers._began = time.monotonic() - 300
    workers.check()
    workers._began -= 101
    cluster = Cluster(_known=[Machine(1, "a node")])
    monkeypatch.setattr(cluster, "_run", lambda *_: workers.check())
    job: Any = SimpleNamespace(method=MethodSpec(name="a", description="", adapter="bm25"))
    nothing: Any = None
    _, ended = cluster.run(lambda: job, None, nothing, limits, nothing)
    assert ended.status == "timeout"
    assert ended.error is not None
    message = "stopped after 1000 s in phase 'encode_documents' (--timeout)"
    assert ended.error.message == message


def test_an_encoder_reports_that_it_passed_its_memory() -> None:
    status, kind, message = Encoder().passed(Limits(memory_bytes=2**20))
    assert (status, kind) == ("oom", "MemoryLimit")
    assert message == "more than 1 MiB resident in phase 'encode_documents' (--memory-limit)"


def test_an_interrupt_ends_all_cells_and_forbids_none_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("rankstone.execution.cluster.machines.connected", contextlib.nullcontext)
    cluster, ended = Cluster(), list[str]()
    monkeypatch.setattr(cluster, "kinds", list)

    def stopped(_: Any) -> Any:
        raise KeyboardInterrupt

    def waits(_: Any) -> Any:
        try:
            cluster.nodes.pause(60)
        except KeyboardInterrupt:
            ended.append("a cell on a node")
            raise

    def follows(_: Any) -> Any:
        if interrupted.wait(60):
            ended.append("a process here")

    reporter: Any = None
    with pytest.raises(KeyboardInterrupt), cluster.opened():
        list(cluster.each([stopped, waits, follows], reporter))
    assert sorted(ended) == ["a cell on a node", "a process here"]
    assert not interrupted.is_set()


def test_a_disk_without_room_for_what_is_sent_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANKSTONE_CACHE", str(tmp_path / "cache"))
    large = File("encodings/k/000000.shard", 2**60, None)
    with pytest.raises(ElsewhereError, match=r"824.0 GiB are to be sent.*RANKSTONE_CACHE="):
        send(Local(), {large: tmp_path}, lambda result: result)
    assert not (tmp_path / "cache").exists()


class Local:
    """An actor of this process."""

    def __getattr__(self, name: str) -> Any:
        return SimpleNamespace(remote=getattr(Receiver(), name))


def test_a_run_that_fits_no_node_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    node = Node(id="a", host="b", resources={"CPU": 4, "memory": 2**30})
    monkeypatch.setattr("rankstone.execution.cluster.machines.alive", lambda: [node])
    monkeypatch.setattr("rankstone.execution.cluster.machines.grows", lambda: False)
    weights = tmp_path / "model" / "model.safetensors"
    weights.parent.mkdir()
    with weights.open("wb") as file:
        file.truncate(2**30 + 1)
    model = ModelSpec(id="mine", path=str(weights.parent))
    method = MethodSpec(name="a/b", description="", adapter="dense", model=model)
    task: Any = SimpleNamespace(name="t")
    job = Job.model_construct(
        method=method, task=task, cache=tmp_path, staging=tmp_path / "s", device="cuda"
    )
    with pytest.raises(DoesNotFitError, match=r"1.0 GiB of memory are available on the largest"):
        Cluster().refuse(Forecast(), job)
    small = job.model_copy(update={"method": method.model_copy(update={"model": None})})
    Cluster().refuse(Forecast(peak_rss_bytes=2**60, disk_bytes=2**60), small)
    with pytest.raises(DoesNotFitError, match=r"GiB of disk .*another folder: --cache"):
        Cluster().refuse(Forecast(cache_bytes=2**60), small)


def test_a_shard_of_another_process_is_waited_for_or_taken_over() -> None:
    written, free = set[int](), set[int]()
    chunks: Any = SimpleNamespace(
        missing=lambda: [0, 1, 2],
        needs=lambda part: {0} if part == 1 else set(),
        has=written.__contains__,
        claimed=lambda part: contextlib.nullcontext(part in free),
    )
    nothing: Any = None
    spread = encoding._Spread(nothing, chunks, nothing, nothing)
    free.add(1)
    assert spread._next() is None  # others have 0 and 2, and 1 repeats texts of 0
    free.add(2)  # its process ended
    assert spread._next() == 2
    assert spread._next() is None
    written.add(0)
    assert spread._next() == 1
    assert not spread._waiting
