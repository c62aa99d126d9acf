"""Qdrant, OpenSearch and Elasticsearch at given addresses, against fake servers."""

from __future__ import annotations

from base64 import b64decode
from pathlib import Path

import numpy as np
import pytest

from rankstone.errors import DefinitionError, EngineError, RankstoneWarning
from rankstone.registry import load
from rankstone.runners.construct import build_runner
from rankstone.runners.search.engines.servers import http, qdrant_rest, server
from rankstone.runners.search.engines.servers.removal import (
    NOTE,
    remove_left,
    servers_of_cell,
)
from rankstone.runners.search.exact.flat import ExactIndex
from rankstone.runners.testing import PlainContext
from rankstone.workspace import Workspace
from tests.engine_servers import own_names, refused, serving
from tests.numbered import Numbered

pytest.importorskip("httpx2", reason="needs httpx2: pip install 'rankstone[engines]'")

RNG = np.random.default_rng(0)
DOCUMENTS = RNG.standard_normal((700, 12)).astype(np.float32)
QUERIES = RNG.standard_normal((5, 12)).astype(np.float32)
VARIABLE = "RANKSTONE_TEST_URL"
DENSE = ("qdrant", "opensearch", "elasticsearch")
BULK = {
    "qdrant": "PUT /points?wait=true",
    "opensearch": "POST /_bulk",
    "elasticsearch": "POST /_bulk",
}
FULL = {
    "qdrant": (500, {"status": {"error": "Service internal error: No space left on device"}}),
    "opensearch": refused(
        403, "cluster_block_exception", "disk usage exceeded flood-stage watermark, read-only"
    ),
}
FULL["elasticsearch"] = FULL["opensearch"]


@pytest.fixture
def engine(request, monkeypatch):
    """A server with an unrelated index, whose address is in `VARIABLE`."""
    with serving(request.param) as found:
        found.held["customers"] = {"docs": {"7": [1.0]}, "visible": {}, "polls": 0}
        monkeypatch.setenv(VARIABLE, found.url)
        monkeypatch.setattr(qdrant_rest, "POLL_S", 0.01)
        with servers_of_cell():
            yield found


dense = pytest.mark.parametrize("engine", DENSE, indirect=True)
lucene = pytest.mark.parametrize("engine", DENSE[1:], indirect=True)


def faults(engine, wanted, *answers):
    """Set the responses to the next requests: `METHOD /end` matches paths of any collection."""
    method, _, end = wanted.partition(" /")
    engine.faults = {f"/{end}": list(answers)} if method else {}


def built(engine, work, vectors=DOCUMENTS, **parameters):
    adapter = load("adapter", engine.kind, "test")
    runner = adapter(members=(Numbered(vectors),), url_env=VARIABLE, **parameters)
    texts = [str(row) for row in range(len(vectors))]
    return runner.index(None, PlainContext(texts=texts, work=work))


@dense
@pytest.mark.parametrize("exact", [True, False])
def test_search_equals_exact_search_and_leaves_nothing(engine, tmp_path, exact):
    with servers_of_cell():
        index = built(engine, tmp_path, exact=exact)
        (name,) = own_names(engine)
        for k in (1, 30, len(DOCUMENTS) + 3):
            ours, theirs = ExactIndex.build(DOCUMENTS).search(QUERIES, k), index.search(QUERIES, k)
            np.testing.assert_array_equal(theirs.docs[:, :30], ours.docs[:, :30])
            np.testing.assert_allclose(theirs.scores, ours.scores, rtol=1e-6, atol=1e-6)
        assert len(engine.held[name]["docs"]) == len(DOCUMENTS)
        assert index.nbytes() is None
        assert index.disk_bytes() == (None if engine.kind == "qdrant" else 12345)
    assert set(engine.held) == {"customers"}
    assert engine.held["customers"]["docs"] == {"7": [1.0]}
    assert not list(tmp_path.iterdir())


@dense
def test_the_order_of_tiny_products_is_kept(engine, tmp_path):
    tiny = DOCUMENTS[:50] * np.float32(1e-5)
    index = built(engine, tmp_path, tiny, exact=True)
    products = (QUERIES.astype(np.float64) * 1e-4) @ tiny.astype(np.float64).T
    found = index.search(QUERIES * np.float32(1e-4), 50)
    np.testing.assert_array_equal(found.docs, np.argsort(-products, axis=1, kind="stable"))
    np.testing.assert_allclose(found.scores, -np.sort(-products, axis=1), rtol=1e-4)


@dense
def test_parameters_are_those_that_the_servers_document(engine, tmp_path):
    index = built(engine, tmp_path, m=7, ef_construction=90, ef_search=55)
    (name,) = own_names(engine)
    index.search(QUERIES[:1], 10)
    body, (_, _, asked) = engine.held[name]["body"], engine.asked[-1]
    if engine.kind == "qdrant":
        assert (body["hnsw_config"]["m"], body["hnsw_config"]["ef_construct"]) == (7, 90)
        assert asked["params"] == {"hnsw_ef": 55, "exact": False}
        return
    mapping = body["mappings"]["properties"]["vector"]
    if engine.kind == "elasticsearch":
        assert mapping["index_options"] == {"type": "hnsw", "m": 7, "ef_construction": 90}
        assert mapping["similarity"] == "max_inner_product"
        assert asked["knn"]["num_candidates"] == 55
    else:
        assert mapping["method"]["parameters"] == {"m": 7, "ef_construction": 90}
        assert mapping["method"]["space_type"] == "innerproduct"
        assert asked["query"]["knn"]["vector"]["method_parameters"] == {"ef_search": 55}


@dense
def test_the_description_states_the_version_of_the_server(engine):
    runner = load("adapter", engine.kind, "test")(members=(Numbered(DOCUMENTS),), url_env=VARIABLE)
    stated = {"qdrant": "Qdrant 1.15.1", "opensearch": "OpenSearch 3.1.0"}
    index = runner.describe()["index"]
    assert index["engine"] == stated.get(engine.kind, "Elasticsearch 9.1.0")
    assert engine.url not in str(index)


@pytest.mark.parametrize(
    "name",
    [f"engines/{kind}-{server}" for kind in ("bm25", "minilm") for server in DENSE[1:]],
)
def test_definitions_take_the_address_from_the_environment(name, tmp_path, monkeypatch):
    spec = Workspace.find().method(name)
    variable, members = spec.parameters["url_env"], {"members": (Numbered(DOCUMENTS),)}
    runner = load("adapter", spec.adapter, "test")(
        **spec.parameters, **(members if spec.members else {})
    )
    texts = [str(row) for row in range(len(DOCUMENTS))]
    documents, context = _Sized([texts]), PlainContext(texts=texts, work=tmp_path)
    monkeypatch.delenv(variable, raising=False)
    with pytest.raises(EngineError, match=f"'{variable}' .*not set.*export {variable}=http://"):
        runner.index(documents, context)
    with serving(name.rpartition("-")[2]) as engine, servers_of_cell():
        monkeypatch.setenv(variable, engine.url)
        index = runner.index(documents, context)
        assert index.search(runner.encode(["7"], "query"), 1).docs.shape == (1, 1)
        assert len(own_names(engine)) == 1


def test_a_wrong_address_is_known_before_documents_are_encoded(tmp_path, monkeypatch):
    pytest.importorskip("psycopg", reason="needs psycopg: pip install 'rankstone[engines]'")
    monkeypatch.delenv(VARIABLE, raising=False)
    for adapter in (*DENSE, "postgres", "milvus"):
        runner = load("adapter", adapter, "test")(members=(Numbered([]),), url_env=VARIABLE)
        with pytest.raises(EngineError, match="not set"):  # and not a fault of the encoder
            runner.index(None, PlainContext(texts=["0"], work=tmp_path))


@pytest.mark.parametrize(
    "value", ["http://me:hidden@host:9200", "VnVhhiddenQ9", "sk-hidden", "eyJhidden.x.y", "h1dden"]
)
@pytest.mark.parametrize("key", ["url_env", "key_env"])
def test_a_value_instead_of_a_variable_is_refused_and_not_shown(key, value, monkeypatch):
    """Also if a model is missing, whose error would put the value into a record."""
    for adapter in (*DENSE, "opensearch_bm25", "elasticsearch_bm25"):
        members = {} if adapter.endswith("bm25") else {"members": (Numbered(DOCUMENTS),)}
        with pytest.raises(DefinitionError, match=f"'parameters.{key}': not the name") as raised:
            load("adapter", adapter, "test")(**members, **{key: value})
        assert value not in str(raised.value)
    spec = Workspace.find().method("engines/minilm-opensearch")
    spec = spec.model_copy(update={"parameters": {**spec.parameters, key: value}})
    absent = spec.members[0].at(Path("/nowhere"))
    for method in (
        spec.model_copy(update={"members": (absent,)}),
        spec.model_copy(update={"adapter": "hnsw", "parameters": {}, "members": (absent, spec)}),
    ):
        with pytest.raises(DefinitionError, match=f"'parameters.{key}': not the name") as raised:
            build_runner(method)
        assert value not in str(raised.value)


@dense
def test_a_saved_index_is_sent_again(engine, tmp_path):
    index = built(engine, tmp_path, exact=True)
    (tmp_path / "saved").mkdir()
    index.save(tmp_path / "saved")
    loaded = type(index).load(tmp_path / "saved")
    assert len(own_names(engine)) == 2
    for one, other in zip(index.search(QUERIES, 9), loaded.search(QUERIES, 9), strict=True):
        np.testing.assert_array_equal(one, other)


@dense
def test_a_collection_of_the_same_name_stays_as_it_is(engine, tmp_path, monkeypatch):
    monkeypatch.setattr(server, "random_name", lambda: "customers")
    monkeypatch.setattr(f"{server.__package__}.opensearch_server.random_name", lambda: "customers")
    with servers_of_cell(), pytest.raises(EngineError, match="'customers' exists there"):
        built(engine, tmp_path)
    assert engine.held["customers"]["docs"] == {"7": [1.0]}


@dense
def test_a_full_disk_is_an_error_that_leaves_nothing(engine, tmp_path):
    faults(engine, BULK[engine.kind], FULL[engine.kind])
    stated = r": 403 disk usage exceeded flood-stage|: 500 Service internal error: No space left"
    with servers_of_cell(), pytest.raises(EngineError, match=stated):
        built(engine, tmp_path)
    assert set(engine.held) == {"customers"}


@dense
def test_a_busy_server_is_asked_again_while_the_index_is_built(engine, tmp_path, monkeypatch):
    waits = []
    monkeypatch.setattr(http, "sleep", waits.append)
    faults(engine, BULK[engine.kind], (429, {}), (503, {}))
    index = built(engine, tmp_path, exact=True)
    assert len(waits) == 2
    ours = ExactIndex.build(DOCUMENTS).search(QUERIES, 3)
    np.testing.assert_array_equal(index.search(QUERIES, 3).docs, ours.docs)


@dense
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ((0, None), rf"Check that the server runs, its address \({VARIABLE}\)"),
        ((200, b"<html>"), "not JSON"),
        (refused(400, "illegal", "Vector dimension error"), "Vector dimension error"),
    ],
)
def test_faults_while_searching_are_clear_and_leave_nothing(engine, tmp_path, fault, message):
    with servers_of_cell():
        index = built(engine, tmp_path)
        end = "POST /points/query" if engine.kind == "qdrant" else "POST /_search"
        faults(engine, end, fault)
        with pytest.raises(EngineError, match=message):
            index.search(QUERIES, 3)
    assert set(engine.held) == {"customers"}


@dense
def test_a_slow_answer_is_an_error_that_names_the_timeout(engine, tmp_path):
    engine.released.clear()
    with pytest.raises(EngineError, match=r"ReadTimeout.*parameters.timeout \(0.05 s\)"):
        built(engine, tmp_path, timeout=0.05)
    engine.released.set()


@dense
def test_leftovers_of_a_killed_process_are_removed_by_its_note(engine, tmp_path):
    with servers_of_cell():
        index = built(engine, tmp_path)
        assert own_names(engine)
        remove_left(tmp_path)
        assert set(engine.held) == {"customers"}
        assert not list(tmp_path.glob(NOTE.format("*")))
        del index


@dense
def test_leftovers_that_cannot_be_removed_are_named(engine, tmp_path):
    cell = servers_of_cell()
    cell.__enter__()
    index = built(engine, tmp_path)
    (name,) = own_names(engine)
    faults(engine, f"DELETE /{name}", (500, {"error": "out of order"}))
    with pytest.warns(RankstoneWarning, match=f"{name} was left on a server"):
        cell.__exit__(None, None, None)
    del index


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("", f"'{VARIABLE}' .* is not set"),
        ("localhost:9200", "holds no address"),
        ("http://me:hidden/x@127.0.0.1:9", "holds no address"),
        ("http://me:hidden#x@127.0.0.1:9", "holds no address"),
        ("http://127.0.0.1:hidden", "holds no address"),
        ("http://127.0.0.1:9", "ConnectError"),
        ("http://me:hidden@127.0.0.1:9", "ConnectError"),
    ],
)
@pytest.mark.parametrize("kind", DENSE)
def test_wrong_addresses_are_errors_without_passwords(
    kind, tmp_path, monkeypatch, address, message
):
    monkeypatch.setenv(VARIABLE, address)
    runner = load("adapter", kind, "test")(members=(Numbered(DOCUMENTS),), url_env=VARIABLE)
    with pytest.raises(EngineError, match=message) as raised:
        runner.index(None, PlainContext(texts=["0"], work=tmp_path))
    assert "hidden" not in str(raised.value)


def test_users_and_passwords_are_decoded(tmp_path, monkeypatch):
    """A password in a URL is percent-encoded (RFC 3986), that of basic authentication is not."""
    with serving("qdrant") as engine, servers_of_cell():
        monkeypatch.setenv(VARIABLE, engine.url.replace("://", "://me:a%2Fb%40c@"))
        built(engine, tmp_path, DOCUMENTS[:5])
        sent = {name.lower(): value for name, value in engine.headers[-1].items()}
        assert b64decode(sent["authorization"].removeprefix("Basic ")) == b"me:a/b@c"


@pytest.mark.parametrize(
    ("adapter", "kind", "name"),
    [("qdrant", "opensearch", "Qdrant"), ("elasticsearch", "qdrant", "Elasticsearch")],
)
def test_another_server_at_the_address_is_refused(adapter, kind, name, monkeypatch):
    runner = load("adapter", adapter, "test")(members=(Numbered(DOCUMENTS),), url_env=VARIABLE)
    with serving(kind) as engine:
        monkeypatch.setenv(VARIABLE, engine.url)
        with pytest.raises(EngineError, match=f"is not {name}. Correct {VARIABLE}"):
            runner.describe()


@lucene
def test_the_other_dialect_is_refused(engine, tmp_path):
    (other,) = set(DENSE[1:]) - {engine.kind}
    runner = load("adapter", other, "test")(members=(Numbered(DOCUMENTS),), url_env=VARIABLE)
    with pytest.raises(EngineError, match="Name the other adapter"):
        runner.index(None, PlainContext(texts=["0"], work=tmp_path))


@lucene
def test_bm25_sends_settings_and_texts_and_gives_ties_to_the_lower_position(engine, tmp_path):
    texts = ["a fox", "a bear and a fox", "fox and bear", "nothing", "half \ud83d pair"]
    adapter = load("adapter", f"{engine.kind}_bm25", "test")
    runner = adapter(url_env=VARIABLE, k1=0.9, b=0.4, analyzer="standard")
    with servers_of_cell():
        documents = [runner.encode(texts, "document")]
        context = PlainContext(texts=texts, work=tmp_path)
        index = runner.index(_Sized(documents), context)
        (name,) = own_names(engine)
        settings = engine.held[name]["body"]["settings"]["index"]
        assert settings["similarity"] == {"default": {"type": "BM25", "k1": 0.9, "b": 0.4}}
        found = index.search(["fox bear", "zebra", ""], 4)
        assert found.docs.tolist() == [[1, 2, 0, -1], [-1] * 4, [-1] * 4]
        (tmp_path / "saved").mkdir()
        index.save(tmp_path / "saved")
        again = type(index).load(tmp_path / "saved").search(["fox bear"], 4)
        np.testing.assert_array_equal(again.docs[0], found.docs[0])
    assert runner.describe()["engine"].endswith(".1.0")
    assert set(engine.held) == {"customers"}


class _Sized(list):
    def __len__(self):
        return sum(map(len, iter(self)))


@pytest.mark.parametrize(
    ("kind", "header"),
    [("qdrant", ("api-key", "k3y")), ("elasticsearch", ("Authorization", "ApiKey k3y"))],
)
def test_keys_are_sent_and_never_described(kind, header, tmp_path, monkeypatch):
    with serving(kind) as engine:
        monkeypatch.setenv(VARIABLE, engine.url)
        absent = r"'RANKSTONE_TEST_KEY' \(parameters.key_env\) is not set"
        with pytest.raises(EngineError, match=absent):
            built(engine, tmp_path, DOCUMENTS[:5], key_env="RANKSTONE_TEST_KEY")
        monkeypatch.setenv("RANKSTONE_TEST_KEY", "k3y")
        with servers_of_cell():
            index = built(engine, tmp_path, DOCUMENTS[:5], key_env="RANKSTONE_TEST_KEY")
        sent = {name.lower(): value for name, value in engine.headers[-1].items()}
        assert sent[header[0].lower()] == header[1]
        assert "k3y" not in str(index.about)
