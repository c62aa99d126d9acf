"""Results of many runs, for the tests and the benchmark of the site."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import zstandard

from rankstone.results.per_query import write_latency, write_per_query
from rankstone.results.record import RANKS, RunRecord
from rankstone.results.store import ResultStore, Staged
from tests.records import METHODS, make_record

FAMILIES = ("lexical", "dense", "sparse", "late_interaction", "rerank", "compressed", "hybrid")
SHAPES = tuple(METHODS)


def many_records(methods: int, tasks: int) -> list[RunRecord]:
    """Return records of all methods on all tasks, no two alike; every 97th cell failed."""
    rng = np.random.default_rng(0)
    found = []
    for m in range(methods):
        name = f"{FAMILIES[m % len(FAMILIES)]}/method-{m:03d}"
        shape = make_record(SHAPES[m % len(SHAPES)])
        for t in range(tasks):
            n = m * tasks + t
            status: Any = "oom" if n % 97 == 96 else "ok"
            record = make_record(name, f"family-{t % 5}/task-{t:02d}", status=status,
                                 scale=float(rng.uniform(0.4, 1.9)))  # fmt: skip
            if status == "ok":
                assert shape.profile is not None
                factor = float(np.exp(rng.normal(0, 1)))
                update = {"profile": scaled(shape.profile, factor)}
                record = record.model_copy(update=update)
            found.append(record)
    return found


def scaled(profile: Any, factor: float) -> Any:
    """Return the profile with every cost multiplied by `factor`."""
    latency, index = profile.latency, profile.index
    points = {name: latency.total[name] * factor for name in (*RANKS, "max_ms", "mean_ms")}
    return profile.model_copy(
        update={
            "latency": latency.model_copy(update={"total": type(latency.total)(**points)}),
            "index": index.model_copy(update={"memory_bytes": int(index.memory_bytes * factor)}),
            "peak_rss_bytes": int(profile.peak_rss_bytes * factor),
        }
    )


def store_with_runs(folder: Path, records: list[RunRecord], scratch: Path) -> list[RunRecord]:
    """Store `records`; the good ones with latencies, values and a run of the same eight queries."""
    store, rng = ResultStore(folder), np.random.default_rng(1)
    stored = []
    for n, record in enumerate(records):
        staged = Staged()
        if record.status == "ok":
            run, values, latency = (scratch / f"{n}.{end}" for end in ("zst", "pq", "lat"))
            queries = [f"q{i}" for i in range(8)]
            headline = record.task.headline
            write_per_query(values, queries, {headline: np.round(rng.random(8), 2)})
            write_latency(latency, rng.gamma(3, 1, 50), rng.gamma(3, 1, 50))
            lines = [
                f"{query} Q0 d{doc} 0 {score:.4f} t\n"
                for query in queries
                for doc, score in zip(
                    rng.permutation(20)[:12], -np.sort(-rng.random(12)), strict=True
                )
            ]
            run.write_bytes(zstandard.compress("".join(lines).encode()))
            staged = Staged(run=run, per_query=values, latency=latency)
        stored.append(store.write(record, staged))
    return stored
