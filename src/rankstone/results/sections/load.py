"""Sections of a record about latency and throughput under load (`rankstone load`)."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from rankstone.results.sections.fields import Amount, Count, Positive, Rate, Section, Value
from rankstone.results.sections.latency import Percentiles

MOST_REQUESTS = 1_000_000
"""Maximum number of requests of one trial."""


class LoadPlan(Section):
    """Trials of `rankstone load`."""

    rates: tuple[Rate, ...] = ()
    """Requests per second of the open loop, one trial each."""
    p99_ms: Rate | None = None
    """Bound within which the highest rate is searched for."""
    clients: tuple[Positive, ...] = ()
    """Clients of the closed loop, one trial each."""
    duration_s: Rate = 10.0
    """Time in which requests arrive, in each trial."""
    arrivals: Literal["poisson", "constant"] = "poisson"
    workers: Positive = 1
    """Threads that serve the open loop."""
    queue: Positive | None = None
    """Most requests that wait in the open loop; those that arrive beyond are dropped."""
    request_timeout_s: Rate = 10.0
    """Time limit of a request, from its arrival."""
    updates: Rate | None = None
    """Insertions and deletions per second, while searches arrive at the first of the rates."""

    @model_validator(mode="after")
    def _offers_something(self) -> Self:
        if not (self.rates or self.clients or self.p99_ms):
            raise ValueError("no load: give rates (--rate), a bound (--p99) or clients (--clients)")
        if self.updates is not None and (not self.rates or self.workers > 1):
            raise ValueError("updates need a rate of searches (--rate), and one worker")
        if self.p99_ms is not None and self.p99_ms >= self.request_timeout_s * 1e3:
            raise ValueError("the bound on p99 must lie below the time limit of a request")
        if max(*self.rates, self.updates or 0, 0) * self.duration_s > MOST_REQUESTS:
            raise ValueError(f"more than {MOST_REQUESTS:,} requests in a trial")
        return self


class LoadTrial(Section):
    """Requests at one rate, or from one number of clients.

    A request that was dropped, or not answered in time, counts with the time limit.
    """

    rate: Amount | None = None
    """Offered requests per second; null in the closed loop."""
    clients: Count | None = None
    """Null in the open loop."""
    n: Count
    dropped: Count = 0
    timed_out: Count = 0
    wall_s: Amount
    """Seconds from the start to the last answer."""
    throughput: Amount
    """Requests answered in time, per second of `wall_s`."""
    latency: Percentiles
    """From the scheduled arrival to the answer; in the closed loop from the request."""
    service: Percentiles | None = None
    """From the start of the service to the answer; null if nothing was served."""
    queue_mean: Amount | None = None
    """Mean number of waiting requests at an arrival; null in the closed loop."""
    queue_max: Count | None = None
    over_bound: Count | None = None
    """Requests above `p99_ms`; null without one."""
    same: Amount | None = None
    """Share of the answers that equal those of a single client, with all documents in order."""
    overlap: Amount | None = None
    """Mean share of the first 10 results that are also in the answer of a single client."""
    headline: Value | None = None
    """Mean of the task's headline measure over the answered requests."""
    headline_single: Value | None = None
    """Mean of the headline measure of a single client's answers to these requests."""


class HighestRate(Section):
    """The highest rate at which 99% of the requests stay within the bound."""

    rate: Amount | None = None
    """Highest rate at which most trials passed, and below which none of the rates failed."""
    low: Amount | None = None
    """Highest rate up to which every trial passed."""
    high: Amount | None = None
    """Lowest rate from which on every trial failed; null if none was found."""


class ColdStart(Section):
    """A new process that reads the index from disk and runs some queries twice."""

    ready_s: Amount
    """Seconds from its start to its first query: libraries and index are read, and models unless
    they are loaded on first use."""
    first_answer_s: Amount
    """Seconds from its start to its first answer."""
    n: Count
    """Queries."""
    first: Percentiles
    """Latency of the first pass, including the first answer from its request on."""
    steady: Percentiles
    """Latency of the second pass."""
    same: Amount | None = None
    """Share of the answers that equal those of the index before it was saved."""


class SearchesAmongUpdates(Section):
    """Searches in a part of a trial."""

    start_s: Amount = 0.0
    """From the start of the trial."""
    searches: Count
    updates: Count = 0
    """Insertions and deletions in that time."""
    latency: Percentiles
    """Latency of searches, from the scheduled arrival."""
    recall_10: Amount | None = None
    """Mean share of the 10 best documents of exact search over the documents live at each search
    that are among its first 10 results; null if exact search is not available."""
    stale: Count
    """Searches that returned a document deleted before."""


class Updates(Section):
    """Search while documents are inserted and deleted (`rankstone load --updates`)."""

    inserts: Count
    deletes: Count
    lost: Count
    """Updates that were dropped, or not begun within the time limit, or that had no document to
    insert or delete."""
    insert: Percentiles | None = None
    """From the start of an insertion to its end; null if there was none."""
    delete: Percentiles | None = None
    before: SearchesAmongUpdates
    meanwhile: list[SearchesAmongUpdates] = []
    """Parts of equal length."""
    compaction_s: Amount | None = None
    """Null if the engine has no compaction."""
    after: SearchesAmongUpdates
    """After compaction, or after the updates if there is no compaction."""


class Load(Section):
    """Latency and throughput under load (`rankstone load`)."""

    plan: LoadPlan
    concurrency: Literal["threads"] = "threads"
    """Workers and clients are threads of the cell's process."""
    queries: Count
    """Distinct queries, which are asked in turn."""
    k: Count
    trials: list[LoadTrial] = []
    highest: HighestRate | None = None
    """Null without a bound."""
    cold: ColdStart | None = None
    """Null if the index cannot be saved and read."""
    updates: Updates | None = None
    """Null without updates."""
