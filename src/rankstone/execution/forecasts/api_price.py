"""Price of a cell whose method uses an API, from text lengths alone: a sample would cost money."""

from __future__ import annotations

from collections.abc import Iterator

from rankstone.benchmarks.dataset import Dataset
from rankstone.encodings.inventory import entries
from rankstone.execution.forecasts.sample_data import Lengths
from rankstone.execution.job import Job
from rankstone.execution.timed_queries import QUERIES, WARMUP
from rankstone.results.record import Forecast
from rankstone.runners.api.budget import TOKENS_PER_BYTE
from rankstone.runners.api.settings import ApiSettings
from rankstone.runners.construct import load_adapter, parts
from rankstone.runners.objects.method import ObjectMethod
from rankstone.specs import AdapterSpec, MethodSpec, ScorerSpec

DEPTH = 100
"""Number of candidates per query, if the method states none."""
NOTES = [
    "time and memory: not measured, since requests of a sample would have to be paid",
    f"tokens: about {TOKENS_PER_BYTE:g} for each byte of text",
]


def api_parts(method: MethodSpec) -> list[AdapterSpec]:
    """Return the method, its members and its scorers that use a server."""
    return [
        part for _, part in parts(method)
        if not isinstance(part, ObjectMethod)
        and issubclass(load_adapter(part, method.file), ApiSettings)
    ]  # fmt: skip


def api_forecast(job: Job, dataset: Dataset) -> Forecast:
    """Return the expected number of tokens and their price."""
    lengths = Lengths(dataset.corpus, job.seed).characters
    cached = _cached(job)
    asked = _questions(dataset)
    tokens, usd = 0.0, 0.0
    priced = True
    for part in api_parts(job.method):
        most = part.parameters.get("max_characters")
        read = lengths.clip(max=most) if isinstance(most, int) else lengths
        mean = float(read.mean()) if len(read) else 0.0
        if isinstance(part, ScorerSpec):
            depth = min(job.method.parameters.get("depth", DEPTH), len(dataset.corpus))
            characters = asked * depth * (mean + _mean_query(dataset))
        else:
            characters = mean * len(dataset.corpus) * (1 - cached) + asked * _mean_query(dataset)
        price = part.parameters.get("price")
        priced &= price is not None
        tokens += characters * TOKENS_PER_BYTE
        usd += characters * TOKENS_PER_BYTE * (price or 0.0) / 1e6
    return Forecast(
        billed_tokens=int(tokens),
        usd=usd if priced else None,
        cached=cached,
        cores=job.threads,
        documents=len(dataset.corpus),
        notes=[*NOTES, *(() if priced else ("price: the method states none (parameters.price)",))],
    )


def _questions(dataset: Dataset) -> int:
    """Return the number of queries that a run sends: all, and those timed one by one."""
    n = len(dataset.query_ids)
    return n + min(WARMUP, (n + 1) // 2) + min(QUERIES, n)


def _mean_query(dataset: Dataset) -> float:
    texts = dataset.query_texts
    return sum(map(len, texts)) / max(len(texts), 1)


def _cached(job: Job) -> float:
    """Return the share of the documents' shards that an earlier run stored, without a request to
    the server; their key depends on the model that it reports."""
    return max(_shares(job), default=0.0)


def _shares(job: Job) -> Iterator[float]:
    for entry in entries(job.cache / "encodings"):
        used = job.method.name in entry.uses("method") and job.task.name in entry.uses("task")
        if used and entry.expected:
            yield len(entry.shards) / entry.expected
