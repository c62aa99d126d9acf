"""What the harness adds to requests: through the load generator and the adapter, against the
engine's own client in a plain loop that times every request and keeps its answer.

A request is a text: both sides encode it with the same MiniLM and ask the same index, in turn. The
index holds 20,000 vectors of 384 dimensions; that of tantivy 1,000,000 generated passages, which
need no encoding. k = 10, one query at a time. Per request the adapters take some 30 microseconds.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from rankstone.benchmarks.loaders.generated import asked_of, stories_of
from rankstone.execution.load.generator import Loop
from rankstone.runners.construct import build_runner
from rankstone.runners.search.engines.hnswlib_index import HnswLib
from rankstone.runners.search.engines.lancedb_index import POSITION, VECTOR, LanceDB
from rankstone.runners.search.engines.qdrant_index import Qdrant
from rankstone.runners.search.engines.servers import milvus_index
from rankstone.runners.search.engines.servers.postgres_index import Postgres, Vector
from rankstone.runners.search.engines.servers.removal import servers_of_cell
from rankstone.runners.search.engines.tantivy_index import POSITION as TANTIVY_POSITION
from rankstone.runners.search.engines.tantivy_index import Tantivy
from rankstone.runners.search.engines.usearch_index import USearch
from rankstone.runners.testing import PlainContext
from rankstone.workspace import Workspace
from tests.speed.vectors import Vectors, ratio_of, unit

SCALE = float(os.environ.get("RANKSTONE_SCALE", "1"))
N, PASSAGES = int(20_000 * SCALE), int(1_000_000 * SCALE)
K, EF, ASKED, ROUNDS = 10, 128, 10, 100
PARAMETERS: dict[str, Any] = {"m": 16, "ef_construction": 100, "ef_search": EF}
Ask = Callable[[Any], Any]


def hnswlib(index: Any) -> Ask:
    index.engine.set_ef(EF)
    threads = index.about["threads"]
    return lambda query: index.engine.knn_query(query, K, num_threads=threads)


def usearch(index: Any) -> Ask:
    threads = index.about["threads"]

    def ask(query: Any) -> Any:
        found = index.engine.search(query, K, threads=threads)
        return found.keys, found.distances

    return ask


def qdrant(index: Any) -> Ask:
    import qdrant_edge

    shard, how = index.engine[0], qdrant_edge.SearchParams(hnsw_ef=EF)

    def ask(query: Any) -> Any:
        nearest = qdrant_edge.Query.Nearest(query[0].tolist())
        found = shard.query(qdrant_edge.QueryRequest(query=nearest, limit=K, params=how))
        return np.array([one.id for one in found]), np.array([one.score for one in found])

    return ask


def lancedb(index: Any) -> Ask:
    def ask(query: Any) -> Any:
        search = index.engine[0].search(query[0], vector_column_name=VECTOR).distance_type("dot")
        found = search.limit(K).select([POSITION, "_distance"]).ef(EF).to_arrow()
        return found[POSITION].to_numpy(), found["_distance"].to_numpy()

    return ask


def tantivy(index: Any) -> Ask:
    index.search(["warm up"], K)

    def ask(query: Any) -> Any:
        searcher = index._engine.searcher()
        found = searcher.search(index._query(query[0], None), K, count=False).hits
        places = searcher.fast_field_values(TANTIVY_POSITION, [address for _, address in found])
        return np.array(places), np.array([score for score, _ in found])

    return ask


def postgres(index: Any) -> Ask:
    """The table's own connection, statement and binary form, which pgvector's client has too."""
    table = index.engine
    index.search(unit(1, 0), K)
    connection = table._of_thread()
    asked = (
        f"SELECT position, vector <#> %(query)s AS distance FROM {table.name}"
        " ORDER BY distance LIMIT %(k)s"
    )

    def ask(query: Any) -> Any:
        values = {"query": Vector(query[0]), "k": K}
        found = connection.execute(asked, values, prepare=True, binary=True).fetchall()
        return np.array([one[0] for one in found]), np.array([-one[1] for one in found])

    return ask


def milvus(index: Any) -> Ask:
    name, client = index.engine.name, index.engine._client
    how = {"metric_type": "IP", "params": {"ef": EF}}

    def ask(query: Any) -> Any:
        (found,) = client.search(
            name, [query[0]], anns_field=milvus_index.VECTOR, limit=K, search_params=how,
            consistency_level="Strong",
        )  # fmt: skip
        places = [one[milvus_index.POSITION] for one in found]
        return np.array(places), np.array([one["distance"] for one in found])

    return ask


VECTORS = {
    HnswLib: hnswlib, USearch: usearch, Qdrant: qdrant, LanceDB: lancedb, Postgres: postgres,
    milvus_index.Milvus: milvus,
}  # fmt: skip


def lines() -> Iterator[str]:
    stories = stories_of(PASSAGES, 0)
    texts = list(asked_of(stories, ASKED))
    encoder = build_runner(Workspace.find().method("dense/all-minilm-l6-v2"))
    encoder.encode(texts, "query")
    with tempfile.TemporaryDirectory() as work, servers_of_cell():
        context = PlainContext(texts=(), work=Path(work))
        for kind, bare in VECTORS.items():
            if not all(map(find_spec, kind.requires)):
                continue
            index = kind(members=(None,), **PARAMETERS).build(Vectors(N), context)
            yield line(bare.__name__, index, bare(index), encoder, texts)
        runner = Tantivy()
        index = runner.index([[story.text for story in stories]], context)
        yield line("tantivy", index, tantivy(index), runner, texts)


def line(name: str, index: Any, ask: Ask, encoder: Any, texts: list[str]) -> str:
    ratio = ratio_of(
        lambda part: measured(encoder, index, part),
        lambda part: plain(encoder, ask, part),
        [texts],
        ROUNDS,
    )
    return f"speed engine_{name} ratio={ratio:.3f} goal=<=1.03 peer=its_client_in_a_loop"


def measured(encoder: Any, index: Any, texts: list[str]) -> None:
    """Ask by the load generator, as fast as it goes."""
    kept = dict[int, Any]()
    loop = Loop(
        lambda row: index.search(encoder.encode([texts[row]], "query"), K),
        np.arange(len(texts)),
        keep=lambda number, row, hits: kept.__setitem__(number, hits),
    )
    loop.open(np.zeros(len(texts)), workers=1, timeout_s=1e9)


def plain(encoder: Any, ask: Ask, texts: list[str]) -> None:
    """Ask in a loop that times each request."""
    kept, taken = [], []
    for text in texts:
        began = time.perf_counter()
        kept.append(ask(encoder.encode([text], "query")))
        taken.append(time.perf_counter() - began)
