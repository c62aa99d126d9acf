"""Reuse of records of servers: by the version of search engines, and with a warning of APIs."""

from __future__ import annotations

import contextlib
import importlib
import socket
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

from rankstone.errors import RankstoneWarning
from rankstone.execution.sweep import Machine, Sweep
from rankstone.registry import load
from rankstone.runners.construct import build_runner
from rankstone.runners.objects.method import object_method
from rankstone.runners.search.engines.servers import milvus_index
from rankstone.runners.search.engines.servers.versions import Servers
from rankstone.session import Session
from rankstone.specs import MethodSpec
from rankstone.workspace import Workspace
from tests.engine_servers import serving
from tests.numbered import Numbered
from tests.records import make_record

pytest.importorskip("httpx2", reason="needs httpx2: pip install 'rankstone[engines]'")

LUCENE = ("opensearch", "elasticsearch")
VARIABLE = "RANKSTONE_TEST_URL"
NEEDS = {"postgres": "psycopg", "milvus": "pymilvus"}
MODULES = {"postgres": ("psycopg", "connect"), "milvus": (milvus_index.__name__, "_client")}
"""Adapter -> the function that connects; others connect by `socket.create_connection`."""


def sweep_over(record):
    store = SimpleNamespace(find=lambda key, machine: record)
    return Sweep(methods=(), tasks=(), sources=None, store=store, workspace=None)


def stored(sweep, method):
    return sweep.stored(lambda machine: "key", method, Machine.this())


def changed(method, **parameters):
    return method.model_copy(update={"parameters": {**method.parameters, **parameters}})


def url_at(port, adapter):
    scheme = "postgresql" if adapter == "postgres" else "http"
    return f"{scheme}://127.0.0.1:{port}"


@pytest.mark.parametrize("kind", LUCENE)
def test_a_record_of_another_version_of_the_server_is_not_reused(kind, monkeypatch):
    """The version is that of a member, deep inside the description of the method."""
    workspace = Workspace.find()
    members = ("lexical/bm25", f"engines/bm25-{kind}")
    method = workspace.method("hybrid/rrf-bm25-minilm")
    method = method.model_copy(update={"members": tuple(map(workspace.method, members))})
    with serving(kind) as engine:
        monkeypatch.setenv(method.members[1].parameters["url_env"], engine.url)
        record = make_record(method.name)
        described = record.method.model_copy(
            update={"description": build_runner(method).describe()}
        )
        record = record.model_copy(update={"method": described})
        sweep = sweep_over(record)
        assert stored(sweep, method) is record
        engine.number = "99.0.0"
        assert stored(sweep, method) is None
    with pytest.warns(RankstoneWarning, match=f"bm25-{kind}: the version of its server is not"):
        assert stored(sweep, method) is record


def test_a_server_of_this_machine_has_its_version_in_the_key():
    pytest.importorskip("psycopg", reason="needs psycopg: pip install 'rankstone[engines]'")
    assert Servers().same(Workspace.find().method("engines/minilm-postgres"), {})


@pytest.mark.parametrize("adapter", ["qdrant", *LUCENE, *MODULES])
def test_a_closed_port_is_tried_once_for_all_cells_of_a_command(adapter, monkeypatch):
    pytest.importorskip(NEEDS.get(adapter, "socket"), reason="needs rankstone[engines]")
    where, name = MODULES.get(adapter, ("socket", "create_connection"))
    module, tried = importlib.import_module(where), []
    connect = getattr(module, name)

    def counted(*given, **more):
        tried.append(given)
        return connect(*given, **more)

    monkeypatch.setattr(module, name, counted)
    monkeypatch.setattr(milvus_index, "CONNECT_S", 0.5)
    numbered = Numbered(np.zeros((1, 2), np.float32))
    runners = [
        load("adapter", adapter, "test")(members=(numbered,), url_env=VARIABLE, ef_search=ef)
        for ef in (16, 32, 64)
    ]
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # and does not listen
        monkeypatch.setenv(VARIABLE, url_at(closed.getsockname()[1], adapter))
        messages, servers = [], Servers()
        for runner in runners:
            with pytest.warns(RankstoneWarning, match="version of its server is not") as caught:
                assert servers.same(object_method(runner), {})
            messages += [str(one.message).partition(": ")[2] for one in caught]
        assert len(tried) == 1
        assert len(messages) == 3
        assert len(set(messages)) == 1
        with pytest.warns(RankstoneWarning):
            assert Servers().same(object_method(runners[0]), {})
        assert len(tried) == 2, "the next command asks again"


def test_a_server_that_never_answers_is_asked_once_by_methods_of_two_kinds(monkeypatch):
    workspace, record = Workspace.find(), make_record("engines/bm25-opensearch")
    bm25 = workspace.method(record.method.name)
    vectors = Numbered(np.zeros((1, 2), np.float32))
    dense = load("adapter", "opensearch", "test")(members=(vectors,), timeout=0.1)
    grid = [changed(bm25, k1=k1, timeout=0.1) for k1 in (0.9, 1.2, 1.5)]
    sweep = sweep_over(record)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("OPENSEARCH_URL", url_at(silent.getsockname()[1], "opensearch"))
        for method in (*grid, object_method(dense)):
            with pytest.warns(RankstoneWarning, match=r"ReadTimeout.*OPENSEARCH_URL"):
                assert stored(sweep, method) is record
        assert connections(silent) == 1


def connections(server: socket.socket) -> int:
    """Count those that nobody has accepted."""
    server.setblocking(False)
    n = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            server.accept()[0].close()
            n += 1
    return n


def test_claims_and_tables_ask_once_for_all_tasks(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(Sweep, "run", lambda sweep, reporter: seen.append(sweep.servers) or ())
    cells = {("lexical/bm25", f"stdlib/{task}") for task in ("modules", "functions")}
    Session(results=tmp_path)._measured(cells, "run")
    assert len(seen) == 2
    assert seen[0] is seen[1]


def test_another_fault_of_a_server_is_not_remembered(monkeypatch):
    """A server that starts answers 503 at first."""
    method, record = Workspace.find().method("engines/bm25-opensearch"), make_record("m")
    sweep = sweep_over(record)
    with serving("opensearch") as engine:
        monkeypatch.setenv("OPENSEARCH_URL", engine.url)
        engine.faults = {"GET /": [(503, {})]}
        with pytest.warns(RankstoneWarning, match="503"):
            assert stored(sweep, method) is record
        assert stored(sweep, method) is None  # its version is not in the record


def test_reused_cells_of_apis_are_stated_once():
    asked = {"base_url": "http://h/v1", "model_id": "m"}
    api = MethodSpec(name="mine/api", description="An API.", adapter="api", parameters=asked)
    record = make_record(api.name)
    sweep = sweep_over(record)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for model in ("m", "n"):
            assert stored(sweep, changed(api, model_id=model)) is record
        assert stored(sweep, Workspace.find().method("lexical/bm25")) is record
    (one,) = caught
    assert "reused as of the date" in str(one.message)
    assert "--force" in str(one.message)


class Mine(Numbered):
    """A server's runner by a user."""

    url_env = None

    def server_version(self):
        return "Mine 2"

    def index(self, documents, context):
        raise NotImplementedError


def test_a_runner_without_a_variable_for_its_address_is_asked():
    mine = object_method(Mine(np.zeros((1, 2), np.float32)))
    assert Servers().same(mine, {"engine": "Mine 2"})
    assert not Servers().same(mine, {"engine": "Mine 1"})
