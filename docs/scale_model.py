"""Writes scale.md beside this file from scale_measurements.json: python docs/scale_model.py

Prices and sizes of machines are options, such as `--gpu-usd-hour 1.5`; with an option, the page is
printed and not written. `--help` lists the options.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from math import ceil, log
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from docs.scale_simulation import Cluster, efficiency

TARGET = Path(__file__).with_name("scale.md")
MEASURED = Path(__file__).with_name("scale_measurements.json")
SIZES = {
    "MS MARCO": 8_841_823,
    "MS MARCO v2": 138_364_198,
    "a billion": 10**9,
    "ten billion": 10**10,
}
GB, TB = 10**9, 10**12
HOUR, DAY = 3600.0, 86_400.0
At = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Assumed:
    """Values that are assumed, not measured. Prices are an example, not a quotation."""

    text_bytes: float = 340.0
    dim: float = 768.0
    value_bytes: float = 4.0
    id_bytes: float = 24.0
    k: float = 1000.0
    queries: float = 6980.0
    gpu_documents_s: float = 3000.0
    encode_hours: float = 24.0
    network_gbit_s: float = 10.0
    driver_disk_tb: float = 8.0
    node_memory_gb: float = 64.0
    node_cores: float = 16.0
    nodes: float = 64.0
    wait_s: float = 600.0
    merge_s: float = 0.1
    fan_in: float = 32.0
    stored_value_bytes: float = 1.0
    object_documents: float = 2.0**20
    gpu_usd_hour: float = 2.0
    node_usd_hour: float = 0.5
    storage_usd_tb_month: float = 23.0


MEANING = {
    "text_bytes": "bytes of a passage",
    "dim": "dimensions of a vector",
    "value_bytes": "bytes of a value in an encoder's output",
    "id_bytes": "bytes of a document's id in memory",
    "k": "documents returned for a query",
    "queries": "queries of a task",
    "gpu_documents_s": "passages that one GPU encodes per second",
    "encode_hours": "hours within which a corpus is encoded",
    "network_gbit_s": "network of a node in each direction, in Gbit/s",
    "driver_disk_tb": "disk of the driver in TB",
    "node_memory_gb": "memory of a node in GB, half of it for an index",
    "node_cores": "cores of a node",
    "nodes": "nodes available for search",
    "wait_s": "time limit for opening the shards of a corpus, in seconds",
    "merge_s": "time limit for merging the results of one query, in seconds",
    "fan_in": "lists that one node merges, in the design for larger collections",
    "stored_value_bytes": "bytes of a stored value, in the design for larger collections",
    "object_documents": "documents in one stored object, in the design for larger collections",
    "gpu_usd_hour": "price of a GPU in US dollars per hour (example)",
    "node_usd_hour": "price of a node in US dollars per hour (example)",
    "storage_usd_tb_month": "price of stored data in US dollars per TB and month (example)",
}


# Measurements, and the laws that reproduce them

Features = Callable[[At], Sequence[float]]
LAWS: dict[str, tuple[str, str, Features]] = {
    "bm25_build_s": (
        "BM25: tokens and index, core s", "a + b x documents", lambda at: [1, at["documents"]]
    ),
    "bm25_index_bytes": (
        "BM25: index, bytes", "a + b x documents", lambda at: [1, at["documents"]]
    ),
    "bm25_query_s": (
        "BM25: one query, k = 1,000, core s", "a + b x documents", lambda at: [1, at["documents"]]
    ),
    "exact_query_s": (
        "exact search: one query, core s", "a x bytes of vectors",
        lambda at: [4 * at["documents"] * at["dim"]],
    ),
    "exact_batch_s": (
        "exact search: a batch of queries, core s", "queries x documents x (a + b x dimensions)",
        lambda at: [at["queries"] * at["documents"] * x for x in (1, at["dim"])],
    ),
    "static_encode_s": (
        "static vectors: encoding, core s", "a x documents", lambda at: [at["documents"]]
    ),
    "shards_open_s": (
        "reading of stored shards, core s", "a + b x shards", lambda at: [1, at["shards"]]
    ),
    "merge_s": (
        "merging of results, core s", "a + b x lists x k", lambda at: [1, at["lists"] * at["k"]]
    ),
}  # fmt: skip
"""Name -> title, law, and its terms, whose coefficients follow from as many measurements."""


@dataclass(frozen=True)
class Measurement:
    name: str
    at: At
    value: float
    command: str
    calibrates: bool = False
    """Fixes a coefficient; the others are checks."""


def measurements(path: Path = MEASURED) -> list[Measurement]:
    return [Measurement(**one) for one in json.loads(path.read_text())["measurements"]]


@dataclass(frozen=True)
class Model:
    """Laws with their coefficients, and the simulation of a driver and actors."""

    coefficients: dict[str, Any]
    driver_s: float
    """Seconds of the driver for a shard, of 1,024 documents."""

    @classmethod
    def of(cls, given: Iterable[Measurement]) -> Model:
        fixed = [one for one in given if one.calibrates]
        found = {}
        for name, (_, _, features) in LAWS.items():
            mine = [one for one in fixed if one.name == name]
            terms = np.array([features(one.at) for one in mine], float)
            found[name] = np.linalg.solve(terms, [one.value for one in mine])
        (driver,) = (one.value for one in fixed if one.name == "ray_driver_s")
        return cls(found, driver)

    def value(self, name: str, **at: float) -> float:
        """Modelled value of the quantity `name`."""
        if name == "ray_efficiency":
            return efficiency(self.cluster(at), ceil(at["shards"]))
        return float(np.dot(self.coefficients[name], LAWS[name][2](at)))

    def cluster(self, at: At) -> Cluster:
        return Cluster(
            actors=ceil(at["actors"]), actor_s=at["actor_s"], driver_s=self.driver_s,
            down_bytes=at.get("down_bytes", 0.0), up_bytes=at.get("up_bytes", 0.0),
            bytes_per_s=at.get("bytes_per_s", float("inf")),
        )  # fmt: skip


# Needs of a corpus by its size

SHARD = 1024


@dataclass(frozen=True)
class Need:
    """A resource: what a corpus needs of it, and what there is."""

    name: str
    amount: float
    limit: float
    unit: str

    @property
    def share(self) -> float:
        return self.amount / self.limit


def gpus(n: float, given: Assumed) -> int:
    """GPUs that encode `n` documents in the time that they are given."""
    return ceil(n / given.gpu_documents_s / (given.encode_hours * HOUR))


def slices(n_bytes: float, given: Assumed) -> int:
    """Nodes that hold so many bytes, in half of their memory."""
    return ceil(n_bytes / (given.node_memory_gb * GB / 2))


def needs_of_one_driver(n: int, model: Model, given: Assumed) -> list[Need]:
    """Needs where one driver reads all texts and writes all vectors, in shards of 1,024."""
    vectors = n * given.dim * given.value_bytes
    shards, parts = n / SHARD, slices(vectors, given)
    network = given.network_gbit_s * GB / 8
    window = given.encode_hours * HOUR
    return [
        Need("driver: processor", shards * model.driver_s / window, 1, "cores"),
        Need("driver: network", vectors / window / 1e6, network / 1e6, "MB/s"),
        Need("driver: disk", vectors / TB, given.driver_disk_tb, "TB"),
        Need("driver: memory for ids", n * given.id_bytes / GB, given.node_memory_gb / 2, "GB"),
        Need("shards to open", model.value("shards_open_s", shards=shards), given.wait_s, "s"),
        Need("memory for search", parts, given.nodes, "nodes"),
        Need("merge", model.value("merge_s", lists=parts, k=given.k), given.merge_s, "s"),
    ]


def needs_of_the_design(n: int, model: Model, given: Assumed) -> list[Need]:
    """Needs where actors write what they encode, slices keep their ids, and merging is a tree."""
    stored = n * given.dim * given.stored_value_bytes
    objects, parts = n / given.object_documents, slices(stored, given)
    window = given.encode_hours * HOUR
    levels = max(ceil(log(parts) / log(given.fan_in)), 1) if parts > 1 else 1
    each = n * given.dim * given.value_bytes / max(gpus(n, given), 1) / window
    own = stored / parts / given.dim / given.stored_value_bytes * given.id_bytes
    lists = min(parts, given.fan_in)
    merge = levels * model.value("merge_s", lists=lists, k=given.k)
    return [
        Need("driver: processor", objects * model.driver_s / window, 1, "cores"),
        Need("an actor: network", each / 1e6, given.network_gbit_s * 125, "MB/s"),
        Need("a slice: memory for ids", own / GB, given.node_memory_gb / 4, "GB"),
        Need("objects to open", model.value("shards_open_s", shards=objects), given.wait_s, "s"),
        Need("memory for search", parts, given.nodes, "nodes"),
        Need("merge", merge, given.merge_s, "s"),
    ]


def first_to_break(needs: Sequence[Need]) -> str:
    """The resource that is exceeded most; "none" if all hold."""
    worst = max(needs, key=lambda need: need.share)
    return worst.name if worst.share > 1 else "none"


def main() -> None:
    from docs.scale_page import page

    parser = argparse.ArgumentParser(description="Print the page under other assumptions.")
    for field in fields(Assumed):
        option = f"--{field.name.replace('_', '-')}"
        parser.add_argument(option, type=float, default=field.default, help=MEANING[field.name])
    text = page(Assumed(**vars(parser.parse_args())), measurements())
    if len(sys.argv) > 1:
        sys.stdout.write(text)
    else:
        TARGET.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
