"""What the harness adds to an engine: requests through the load generator and the adapter, against
the engine's own client in a plain loop that times every request and keeps its answer.

20,000 vectors of 384 dimensions (for tantivy as many generated passages), k = 10, one query at a
time; both sides ask the same queries of the same index, in turn.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rankstone.benchmarks.loaders.generated import asked_of, stories_of
from rankstone.execution.load.generator import Loop
from rankstone.runners.search.engines.hnswlib_index import HnswLib
from rankstone.runners.search.engines.lancedb_index import POSITION, VECTOR, LanceDB
from rankstone.runners.search.engines.qdrant_index import Qdrant
from rankstone.runners.search.engines.tantivy_index import POSITION as TANTIVY_POSITION
from rankstone.runners.search.engines.tantivy_index import Tantivy
from rankstone.runners.search.engines.usearch_index import USearch
from rankstone.runners.testing import PlainContext
from tests.speed.vectors import Vectors, queries, ratio_of

N = int(20_000 * float(os.environ.get("RANKSTONE_SCALE", "1")))
K, EF, ASKED = 10, 128, 100
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
        found = searcher.search(index._query(query[0]), K, count=False).hits
        places = searcher.fast_field_values(TANTIVY_POSITION, [address for _, address in found])
        return np.array(places), np.array([score for score, _ in found])

    return ask


VECTORS = {HnswLib: hnswlib, USearch: usearch, Qdrant: qdrant, LanceDB: lancedb}


def lines() -> Iterator[str]:
    asked = queries(ASKED)
    with tempfile.TemporaryDirectory() as work:
        context = PlainContext(texts=(), work=Path(work))
        for kind, bare in VECTORS.items():
            index = kind(members=(None,), **PARAMETERS).build(Vectors(N), context)
            yield line(bare.__name__, index, bare, [asked[n : n + 1] for n in range(ASKED)])
        stories = stories_of(N, 0)
        index = Tantivy().index([[story.text for story in stories]], context)
        yield line("tantivy", index, tantivy, [[text] for text in asked_of(stories, ASKED)])


def line(name: str, index: Any, bare: Callable[[Any], Ask], parts: list[Any]) -> str:
    ask = bare(index)
    ratio = ratio_of(lambda part: measured(index, part), lambda part: plain(ask, part), [parts])
    return f"speed engine_{name} ratio={ratio:.3f} goal=<=1.03 peer=its_client_in_a_loop"


def measured(index: Any, parts: list[Any]) -> None:
    """Ask by the load generator, as fast as it goes."""
    kept = dict[int, Any]()
    loop = Loop(
        lambda row: index.search(parts[row], K),
        np.arange(len(parts)),
        keep=lambda number, row, hits: kept.__setitem__(number, hits),
    )
    loop.open(np.zeros(len(parts)), workers=1, timeout_s=1e9)


def plain(ask: Ask, parts: list[Any]) -> None:
    """Ask in a loop that times each request."""
    kept, taken = [], []
    for part in parts:
        began = time.perf_counter()
        kept.append(ask(part))
        taken.append(time.perf_counter() - began)
