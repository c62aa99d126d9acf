"""Realistic records for the tests of everything that reads records."""

from __future__ import annotations

from typing import Any

from rankstone.results.record import (
    Environment,
    ErrorInfo,
    Filter,
    IndexSize,
    Latency,
    Measure,
    MethodInfo,
    Percentiles,
    Phase,
    Policy,
    Profile,
    Provenance,
    QuerySummary,
    RunRecord,
    Status,
    TaskInfo,
    Training,
)
from rankstone.specs import canonical_digest

MEASURES = ("nDCG@10", "R@10", "R@100", "RR@10", "AP", "Success@5", "Judged@10")
MACHINE = "4be81c07"
METHODS: dict[str, dict[str, Any]] = {
    "lexical/bm25": {
        "means": (0.3043, 0.4512, 0.6791, 0.2611, 0.2688, 0.3607, 0.0451),
        "encode_s": 0.9, "index_s": 0.6, "memory": 6_812_004, "disk": 7_002_113,
        "encode_ms": 0.041, "search_ms": 0.62, "rss": 411_000_000,
    },
    "dense/wordllama-256": {
        "means": (0.3398, 0.4987, 0.7325, 0.2926, 0.3004, 0.4012, 0.0499),
        "encode_s": 1.3, "index_s": 0.02, "memory": 5_740_544, "disk": 5_740_589,
        "encode_ms": 0.088, "search_ms": 0.431, "rss": 498_300_000,
    },
    "dense/all-minilm-l6-v2": {
        "means": (0.5011, 0.6803, 0.8810, 0.4461, 0.4521, 0.5802, 0.0680),
        "encode_s": 171.2, "index_s": 0.03, "memory": 8_610_816, "disk": 8_610_861,
        "encode_ms": 6.91, "search_ms": 0.612, "rss": 1_262_000_000,
    },
    "hybrid/rrf-bm25-wordllama-minilm": {
        "means": (0.4572, 0.6504, 0.8924, 0.3967, 0.4030, 0.5333, 0.0650),
        "encode_s": 173.4, "index_s": 0.71, "memory": 21_163_364, "disk": 21_353_563,
        "encode_ms": 7.12, "search_ms": 2.204, "rss": 1_310_000_000, "from_cache": 1.0,
    },
}  # fmt: skip


def make_record(
    method: str = "lexical/bm25",
    task: str = "stdlib/functions",
    *,
    status: Status = "ok",
    machine: str = MACHINE,
    corpus: str = "corpus of 3.11",
    scale: float = 1.0,
    **changes: Any,
) -> RunRecord:
    """A record of one cell; `scale` multiplies the quality, `changes` replace whole sections."""
    values: dict[str, Any] = {
        "status": status,
        "key": canonical_digest([method, task, corpus]),
        "task": make_task(task, corpus),
        "method": MethodInfo(
            name=method,
            digest=canonical_digest(method),
            adapter="bm25",
            parameters={"k1": 0.9, "b": 0.4, "stopwords": "english"},
            description={
                "library": "bm25s 0.3.16",
                "limits": [1, 2.5, None],
                "language": "ελληνικά",
            },
        ),
        "policy": Policy(depth=100),
        "environment": make_environment(machine),
        "provenance": Provenance(started="2025-11-22T09:00:00Z", finished="2025-11-22T09:03:00Z"),
    }
    if status == "ok":
        values |= make_figures(METHODS.get(method, METHODS["lexical/bm25"]), scale)
    else:
        values["error"] = ErrorInfo(
            kind="MemoryLimitError",
            message="stopped at 4.0 GiB, the limit of --memory-limit, in phase encode_documents\n"
            "raise the limit",
        )
    return RunRecord(**{**values, **changes})


def make_counted_record() -> RunRecord:
    """A record of an encoder that told of its work, on a machine with a GPU."""
    record = make_record("dense/all-minilm-l6-v2")
    assert record.profile is not None
    phases = dict(record.profile.phases)
    work = {"tokens": 1_004_311, "flops": 4.2907e13, "peak_gpu_bytes": 912_261_120}
    phases["encode_documents"] = phases["encode_documents"].model_copy(update=work)
    seconds = phases["encode_documents"].wall_s
    peak = 4.1e11
    figures = {"peak_flops_per_s": peak, "flop_utilisation": work["flops"] / seconds / peak}
    profile = record.profile.model_copy(update={"phases": phases, **figures})
    return record.model_copy(update={"profile": profile})


def make_paid_record() -> RunRecord:
    """A record of an encoder behind an API, 2 million tokens of whose documents cost $0.04."""
    record = make_counted_record()
    assert record.profile is not None
    phases = dict(record.profile.phases)
    for name, tokens, usd in (("encode_documents", 2_000_000, 0.04), ("encode_queries", 500, 1e-5)):
        paid = {"billed_tokens": tokens, "usd": usd}
        phases[name] = phases[name].model_copy(update=paid)
    profile = record.profile.model_copy(update={"phases": phases})
    return record.model_copy(update={"profile": profile})


def make_imported_record() -> RunRecord:
    """A record of means that another tool published."""
    record = make_record("dense/all-minilm-l6-v2")
    measures = {name: Measure(mean=measure.mean) for name, measure in record.measures.items()}
    changes = {"measures": measures, "profile": None, "queries": None}
    policy = Policy(depth=1000, rules="mteb")
    return record.model_copy(update={**changes, "policy": policy})


def make_trained_record() -> RunRecord:
    """A record of a method that a recipe trained, with a phase for it."""
    record = make_record("dense/all-minilm-l6-v2")
    training = Training(
        part="dense/all-minilm-l6-v2",
        checkpoint=canonical_digest("checkpoint"),
        loss_name="multiple_negatives_ranking",
        negatives="bm25",
        data=["packages/functions"],
        queries=18_020,
        pairs=16_000,
        held_out_queries=2_002,
        dropped_queries=3,
        seen_documents=7,
        seed=0,
        device="cpu",
        precision="fp32",
        steps=500,
        best_step=400,
        wall_s=812.5,
        cpu_s=1611.0,
        peak_rss_bytes=1_912_000_000,
        loss=[(10 * n, 2.5 / n) for n in range(1, 51)],
        held_out=[(100 * n, 1.5 + 0.01 * abs(n - 4)) for n in range(1, 6)],
        resumed=True,
    )
    assert record.profile is not None
    phases = {"train": Phase(wall_s=812.5, cpu_s=1611.0, items=500), **record.profile.phases}
    profile = record.profile.model_copy(update={"phases": phases})
    record = record.model_copy(update={"training": [training], "profile": profile})
    return on_gpu(record)


def make_filtered_record() -> RunRecord:
    """A record of a task with a filter."""
    record = make_record("lexical/bm25")
    assert record.profile is not None
    section = Filter(
        how="native",
        predicate='year >= 2015 and kind != "draft"',
        selectivity=0.125,
        least=0.125,
        most=0.125,
        not_asked=17,
        without_relevant=3,
    )
    profile = record.profile.model_copy(update={"filter": section})
    return record.model_copy(update={"profile": profile})


def on_gpu(record: RunRecord) -> RunRecord:
    """The record, of a run on a GPU."""
    assert record.profile is not None
    use = {"peak_gpu_bytes": 1_717_986_918, "gpu_utilisation": 0.875}
    phases = {
        name: phase.model_copy(update=use if name == "encode_documents" else {})
        for name, phase in record.profile.phases.items()
    }
    where = {"gpu": "NVIDIA H200", "driver": "570.86", "device": "cuda"}
    changes = {
        "profile": record.profile.model_copy(update={"phases": phases}),
        "environment": record.environment.model_copy(update=where),
    }
    return record.model_copy(update=changes)


def make_task(task: str, corpus: str) -> TaskInfo:
    return TaskInfo(
        name=task,
        digest=canonical_digest(task),
        dataset=task,
        split="test",
        source="the standard library of CPython 3.11.7",
        sha256={part: canonical_digest([corpus, part]) for part in ("queries", "corpus")},
        n_documents=5606,
        n_queries=4007,
        n_judgements=4007,
        n_unknown_documents=0,
        text="{text}",
        headline="nDCG@10",
    )


def make_environment(machine: str) -> Environment:
    return Environment(
        machine=machine,
        cpu="AMD EPYC 9B45" if machine == MACHINE else "Apple M3 Max",
        cores=2,
        affinity=[0, 1],
        ram_bytes=25_282_359_296,
        os="Linux 6.1",
        python="3.11.7",
        packages={"numpy": "2.4.6", "bm25s": "0.3.16"},
        threads=2,
        seed=0,
        command=["rankstone", "run", "bm25", "--on", "stdlib/functions"],
    )


def make_figures(shape: dict[str, Any], scale: float) -> dict[str, Any]:
    measures = {
        name: Measure(mean=mean, low=mean - 0.0131, high=mean + 0.0128, n=4007)
        for name, mean in zip(MEASURES, (m * scale for m in shape["means"]), strict=True)
    }
    cached = shape.get("from_cache", 0.0)
    phases = {
        "load": Phase(wall_s=0.21, cpu_s=0.2, items=5606),
        "encode_documents": Phase(
            wall_s=shape["encode_s"], cpu_s=shape["encode_s"] * 1.9, items=5606, from_cache=cached
        ),
        "index": Phase(wall_s=shape["index_s"], items=5606),
        "encode_queries": Phase(wall_s=shape["encode_ms"], items=4007),
        "search": Phase(wall_s=shape["search_ms"] * 1.7, items=4007),
    }
    profile = Profile(
        phases=phases,
        latency=make_latency(shape["encode_ms"], shape["search_ms"]),
        index=IndexSize(
            memory_bytes=shape["memory"],
            disk_bytes=shape["disk"],
            bytes_per_document=shape["memory"] / 5606,
        ),
        peak_rss_bytes=shape["rss"],
    )
    queries = QuerySummary(n=4007, n_missing=0, n_tied=12)
    return {"measures": measures, "profile": profile, "queries": queries}


def make_latency(encode_ms: float, search_ms: float) -> Latency:
    encode, search = make_percentiles(encode_ms), make_percentiles(search_ms)
    total = make_percentiles(encode_ms + search_ms)
    facts = {"n": 400, "queries": 200, "warmup": 20, "threads": 2, "k": 100}
    return Latency(encode=encode, search=search, total=total, **facts)


def make_percentiles(ms: float) -> Percentiles:
    return Percentiles(
        p50_ms=ms,
        p90_ms=ms * 1.2,
        p95_ms=ms * 1.31,
        p99_ms=ms * 1.83,
        max_ms=ms * 3,
        mean_ms=ms * 1.04,
        intervals={
            "p50_ms": (ms * 0.98, ms * 1.02),
            "p90_ms": (ms * 1.15, ms * 1.27),
            "p95_ms": (ms * 1.25, ms * 1.5),
            "p99_ms": (ms * 1.6, ms * 2.9),
        },
        autocorrelation=0.05,
        effective_n=400,
    )


def demo_records() -> list[RunRecord]:
    """Four methods on two tasks, one of them failed, as a first run leaves them."""
    functions = [make_record(method) for method in METHODS]
    modules = [make_record("lexical/bm25", "stdlib/modules", scale=1.3)]
    failed = [make_record("dense/all-minilm-l6-v2", "stdlib/modules", status="oom")]
    return [*functions, *modules, *failed]
