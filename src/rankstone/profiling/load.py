"""Figures of trials under load, computed from the times of their requests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rankstone.arrays import Floats, Ints
from rankstone.errors import ResultsError
from rankstone.profiling.latency import percentiles
from rankstone.results.per_query import (
    ANSWERED,
    BEFORE,
    COLD,
    COMPACT,
    COMPACTED,
    DELETE,
    DROPPED,
    INSERT,
    STEADY,
    UPDATING,
    RawLoad,
)
from rankstone.results.record import (
    ColdStart,
    HighestRate,
    Load,
    LoadPlan,
    LoadTrial,
    Percentiles,
    SearchesAmongUpdates,
    Updates,
)

PARTS = 10
"""Parts of a trial with updates."""
SHARE = 0.01
"""Share of the requests that may exceed a bound on the 99th percentile."""


def summarise_load(
    plan: LoadPlan, offered: Sequence[tuple[float | None, int | None]], requests: RawLoad, k: int
) -> Load:
    """Return the load section of a record.

    Args:
        offered: rate, or number of clients, of each trial.

    Raises:
        ResultsError: the requests do not belong to as many trials.
    """
    every = requests
    first, steady = (requests.where(requests.trial == number) for number in (COLD, STEADY))
    requests = requests.where(requests.trial >= 0)
    if np.unique(requests.trial).tolist() != list(range(len(offered))):
        raise ResultsError(f"The requests under load are not those of {len(offered)} trials.")
    trials = [
        trial(plan, rate, clients, requests.where(requests.trial == number))
        for number, (rate, clients) in enumerate(offered)
    ]
    return Load(
        plan=plan,
        queries=len(np.unique(requests.row)),
        k=k,
        trials=trials,
        highest=None if plan.p99_ms is None else highest_rate(trials),
        cold=cold_start(first, steady) if len(first.row) else None,
        updates=None if plan.updates is None else summarise_updates(plan, every),
    )


def cold_start(first: RawLoad, steady: RawLoad) -> ColdStart:
    """Return the figures of a new process."""
    return ColdStart(
        ready_s=float(first.begun_s[0]),
        first_answer_s=float(first.ended_s[0]),
        n=len(first.row),
        first=percentiles((first.ended_s - first.begun_s) * 1e3),
        steady=percentiles((steady.ended_s - steady.begun_s) * 1e3),
        same=_mean(first.same),
    )


def summarise_updates(plan: LoadPlan, requests: RawLoad) -> Updates:
    """Return the figures of searches before, during and after updates."""
    before, amid, after = (
        requests.where(requests.trial == number) for number in (BEFORE, UPDATING, COMPACTED)
    )
    ends = np.linspace(0, plan.duration_s, PARTS + 1)
    part = np.searchsorted(ends, amid.scheduled_s, side="right") - 1
    meanwhile = [amid.where((part == n) & (amid.row != COMPACT)) for n in range(PARTS)]
    compaction = amid.where(amid.row == COMPACT).ended_s
    updates = amid.where((amid.row == INSERT) | (amid.row == DELETE))
    return Updates(
        inserts=int((updates.served & (updates.row == INSERT)).sum()),
        deletes=int((updates.served & (updates.row == DELETE)).sum()),
        lost=int((~updates.served).sum()),
        insert=_service(updates.where(updates.row == INSERT)),
        delete=_service(updates.where(updates.row == DELETE)),
        before=_searches(plan, before),
        meanwhile=[
            _searches(plan, one, float(start))
            for start, one in zip(ends[:-1], meanwhile, strict=True)
            if (one.row >= 0).any()
        ],
        compaction_s=float(compaction[0]) if len(compaction) else None,
        after=_searches(plan, after),
    )


def _service(requests: RawLoad) -> Percentiles | None:
    taken = (requests.ended_s - requests.begun_s)[requests.served]
    return percentiles(taken * 1e3) if len(taken) else None


def _searches(plan: LoadPlan, requests: RawLoad, start_s: float = 0.0) -> SearchesAmongUpdates:
    searches = requests.where(requests.row >= 0)
    return SearchesAmongUpdates(
        start_s=start_s,
        searches=len(searches.row),
        updates=int((requests.row < 0).sum()),
        latency=percentiles(latencies_s(searches, plan.request_timeout_s) * 1e3),
        recall_10=_mean(searches.overlap),
        stale=int((searches.same == 0).sum()),
    )


def trial(plan: LoadPlan, rate: float | None, clients: int | None, requests: RawLoad) -> LoadTrial:
    """Return the figures of one trial."""
    latency, served = latencies_s(requests, plan.request_timeout_s), requests.served
    answered, wall = requests.state == ANSWERED, float(requests.ended_s.max())
    service = (requests.ended_s - requests.begun_s)[served]
    depth = None if rate is None else queue_depths(requests)
    of_answers = requests.where(served)
    return LoadTrial(
        rate=rate,
        clients=clients,
        n=len(latency),
        dropped=int((requests.state == DROPPED).sum()),
        timed_out=int((~answered & (requests.state != DROPPED)).sum()),
        wall_s=wall,
        throughput=float(answered.sum() / wall) if wall else 0.0,
        latency=percentiles(latency * 1e3),
        service=percentiles(service * 1e3) if served.any() else None,
        queue_mean=None if depth is None else float(depth.mean()),
        queue_max=None if depth is None else int(depth.max()),
        over_bound=None if plan.p99_ms is None else int((latency * 1e3 > plan.p99_ms).sum()),
        same=_mean(of_answers.same),
        overlap=_mean(of_answers.overlap),
        headline=_mean(of_answers.value),
        headline_single=_mean(of_answers.single),
    )


def latencies_s(requests: RawLoad, timeout_s: float) -> Floats:
    """Return (n,) seconds from arrival to answer; the time limit if there was no answer by then."""
    taken = np.minimum(requests.ended_s - requests.scheduled_s, timeout_s)
    return np.where(requests.state == ANSWERED, taken, timeout_s)


def queue_depths(requests: RawLoad) -> Ints:
    """Return (n,) numbers of earlier requests that were waiting when each one arrived."""
    entered = requests.state != DROPPED
    own = entered & (requests.begun_s <= requests.scheduled_s)
    begun = np.sort(requests.begun_s[entered])
    gone = np.searchsorted(begun, requests.scheduled_s, side="right") - own
    before: Ints = np.cumsum(entered) - entered - gone
    return np.maximum(before, 0)


def highest_rate(trials: Sequence[LoadTrial]) -> HighestRate:
    """Return the highest rate that passes, among those of the trials with a bound."""
    passed: dict[float, list[bool]] = {}
    for one in trials:
        if one.rate is not None and one.over_bound is not None:
            passed.setdefault(one.rate, []).append(passes(one))
    low = rate = None
    for offered in sorted(passed):
        if 2 * sum(passed[offered]) <= len(passed[offered]):
            break
        rate = offered
    for offered in sorted(passed):
        if not all(passed[offered]):
            break
        low = offered
    failed: list[float] = []
    for offered in sorted(passed, reverse=True):
        if any(passed[offered]):
            break
        failed.append(offered)
    return HighestRate(rate=rate, low=low, high=min(failed, default=None))


def passes(trial: LoadTrial) -> bool:
    """Return True if 99% of the requests were answered within the bound."""
    return trial.over_bound is not None and trial.over_bound <= SHARE * trial.n


def _mean(values: Floats) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None
