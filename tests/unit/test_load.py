"""Requests under load against Lindley's recursion, queueing theory, and known servers."""

from __future__ import annotations

import heapq
import math
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.optimize import brentq
from typer import BadParameter

from rankstone.cli.run import parse_numbers, parse_seconds
from rankstone.execution.load.answers import Answers
from rankstone.execution.load.cold_start import Asked
from rankstone.execution.load.generator import Loop, arrivals
from rankstone.execution.load.highest_rate import rates_to_try
from rankstone.execution.load.measured import LoadRun
from rankstone.leaderboards.formats.render import render
from rankstone.leaderboards.gate import judge
from rankstone.leaderboards.gates.rules import GateRules, LoadRule
from rankstone.leaderboards.loads.page import page
from rankstone.profiling.load import latencies_s, queue_depths, summarise_load, trial
from rankstone.results.per_query import (
    ABANDONED,
    ANSWERED,
    DROPPED,
    LATE,
    RawLoad,
    read_load,
    write_load,
)
from rankstone.results.record import LoadPlan
from rankstone.runners.protocols import Hits
from tests.records import make_record

ROWS = np.arange(7)
FOREVER = 1e9


class Virtual:
    """Clock that advances when a thread waits or serves."""

    def __init__(self) -> None:
        self.time = 5.0

    def now(self) -> float:
        return self.time

    def wait_until(self, when: float) -> None:
        self.time = max(self.time, when)


def served(times: np.ndarray, service: np.ndarray, **limits: float) -> RawLoad:
    """Run requests of one worker with the given service times, in virtual time."""
    clock, taken = Virtual(), iter(service.tolist())

    def ask(row: int) -> None:
        clock.time += next(taken)

    given = {"workers": 1, "timeout_s": FOREVER, **limits}
    return Loop(ask, ROWS, clock=clock).open(times, **given)  # type: ignore[arg-type]


def lindley(times: np.ndarray, service: np.ndarray) -> np.ndarray:
    """Return the waiting time of each request, W' = max(0, W + S - A), in closed form."""
    walk = np.concatenate([[0.0], np.cumsum(service[:-1] - np.diff(times))])
    return walk - np.minimum.accumulate(walk)


def simulated(kind: str, load: float, n: int = 60_000) -> tuple[np.ndarray, np.ndarray]:
    """Return arrivals at `load` per second, and service times of mean 1 s, constant or
    exponential."""
    times = arrivals(load, n / load, kind="poisson", seed=3)
    rng = np.random.default_rng(4)
    constant = np.ones(len(times))
    return times, constant if kind == "D" else rng.exponential(1.0, len(times))


@pytest.mark.parametrize("kind", ["D", "M"])
def test_waiting_is_that_of_lindley_and_of_queueing_theory(kind: str) -> None:
    load = 0.6
    times, service = simulated(kind, load)
    found = served(times, service)
    np.testing.assert_allclose(found.begun_s - times, lindley(times, service), atol=1e-6)
    # Pollaczek and Khinchine: mean waiting of M/D/1 and M/M/1.
    expected = load / (1 - load) * (0.5 if kind == "D" else 1.0)
    assert (found.begun_s - times).mean() == pytest.approx(expected, rel=0.05)
    # Little: requests that an arrival finds waiting, by the rate and the mean waiting.
    assert queue_depths(found).mean() == pytest.approx(load * expected, rel=0.05)
    if kind == "M":  # the time in an M/M/1 system is exponential with rate 1 - load
        for share in (0.5, 0.99):
            exact = -np.log(1 - share) / (1 - load)
            assert np.quantile(latencies_s(found, FOREVER), share) == pytest.approx(exact, rel=0.05)


class Shared:
    """Virtual clock of several threads: when all wait, it advances to the first end."""

    def __init__(self, threads: int) -> None:
        self.time, self._waiting, self._running = 0.0, list[tuple[float, int]](), threads
        self._turns = {n: threading.Semaphore(0) for n in range(threads)}
        self._numbers, self._own, self._lock = (
            iter(range(threads)),
            threading.local(),
            threading.Lock(),
        )

    def now(self) -> float:
        return self.time

    def wait_until(self, when: float) -> None:
        if not hasattr(self._own, "number"):
            with self._lock:
                self._own.number = next(self._numbers)
        with self._lock:
            heapq.heappush(self._waiting, (max(when, self.time), self._own.number))
            self._running -= 1
            self._pass()
        self._turns[self._own.number].acquire()

    def leave(self) -> None:
        """Declare that this thread will not wait again."""
        with self._lock:
            self._running -= 1
            self._pass()

    def _pass(self) -> None:
        if not self._running and self._waiting:
            self.time, number = heapq.heappop(self._waiting)
            self._running = 1
            self._turns[number].release()


def erlang_c(servers: int, load: float) -> float:
    """Return the fraction of requests that wait in M/M/c, from Erlang B's recursion."""
    blocked = 1.0
    for n in range(1, servers + 1):
        blocked = load * blocked / (n + load * blocked)
    return blocked / (1 - load / servers * (1 - blocked))


def test_several_workers_are_an_mmc_queue() -> None:
    """p50 and p99 are within 5% of the time in an M/M/c system with mean service time 1 s."""
    servers, load, n = 3, 2.1, 30_000
    times = arrivals(load, n / load, kind="poisson", seed=3)
    clock, end = Shared(servers), times[-1] + 1e2
    drawn = iter(np.random.default_rng(4).exponential(1.0, len(times)).tolist())

    def ask(row: int) -> None:
        service = next(drawn, None)
        if service is None:  # each worker serves one request behind all others, its last
            clock.leave()
        else:
            clock.wait_until(clock.now() + service)

    last = np.full(servers, end)
    found = Loop(ask, ROWS, clock=clock).open(
        np.concatenate([times, last]), workers=servers, timeout_s=FOREVER
    )
    taken = latencies_s(found, FOREVER)[: len(times)]
    waits, spare = erlang_c(servers, load), servers - load

    def longer(t: float) -> float:
        """Return P(T > t) for a wait that is 0 or exponential with rate `spare`, plus a service."""
        return math.exp(-t) * (1 + waits * -math.expm1(-t * (spare - 1)) / (spare - 1))

    for share in (0.5, 0.99):
        exact = brentq(lambda t, tail=1 - share: longer(t) - tail, 0, 1e3)
        assert np.quantile(taken, share) == pytest.approx(exact, rel=0.05)
    begun = found.begun_s[: len(times)]
    assert (begun > times + 1e-9).mean() == pytest.approx(waits, rel=0.05)


def test_a_server_that_stalls_shows_in_every_percentile_it_should() -> None:
    """One second in ten: a tenth of the requests wait, although only one service was slow."""
    times = arrivals(100, 10.0, kind="constant", seed=0)
    service = np.full(1000, 1e-4)
    service[300] = 1.0
    found = trial(LoadPlan(rates=(100,)), 100.0, None, served(times, service))
    expected = lindley(times, service) + service
    plain = found.latency
    assert plain.max_ms == pytest.approx(1000.0)
    assert plain.mean_ms == pytest.approx(expected.mean() * 1e3)
    taken = latencies_s(served(times, service), FOREVER)
    for share, least in ((0.9, 0.0), (0.95, 0.49), (0.99, 0.89)):
        assert np.quantile(taken, share) == pytest.approx(np.quantile(expected, share))
        assert np.quantile(taken, share) > least
    assert found.service is not None
    assert found.service.p99_ms == pytest.approx(0.1)  # the stalled service is one of 1,000
    assert found.queue_max == 98  # at 3.99 s those of 3.01 to 3.98 s wait


def test_arrivals_are_even_or_exponential_and_follow_the_seed() -> None:
    assert np.diff(arrivals(4, 2.0, kind="constant", seed=0)).tolist() == [0.25] * 7
    gaps = np.diff(arrivals(50, 400.0, kind="poisson", seed=1))
    assert gaps.mean() == pytest.approx(1 / 50, rel=0.03)
    assert gaps.std() == pytest.approx(1 / 50, rel=0.03)  # of an exponential variable, its mean
    first, again, other = (arrivals(50, 4.0, kind="poisson", seed=seed) for seed in (1, 1, 2))
    assert first.tolist() == again.tolist() != other.tolist()


def test_lost_requests_count_with_the_time_limit() -> None:
    times = np.array([0.0, 1.0, 2.0, 3.0, 11.0, 12.0])
    service = np.array([10.0, 1.0, 1.0, 9.5])
    # 0 is served until 10; 1 and 2 fill the queue of two, 3 is dropped; 1 is abandoned at 8.
    found = served(times, service, timeout_s=7.0, queue=2)
    assert found.state.tolist() == [LATE, ABANDONED, ABANDONED, DROPPED, ANSWERED, ANSWERED]
    assert latencies_s(found, 7.0).tolist() == [7.0, 7.0, 7.0, 7.0, 1.0, 1.0]
    assert queue_depths(found).tolist() == [0, 0, 1, 2, 0, 0]
    figures = trial(LoadPlan(rates=(1,), p99_ms=1500, request_timeout_s=7), 1.0, None, found)
    assert (figures.dropped, figures.timed_out, figures.over_bound) == (1, 3, 4)
    assert figures.throughput == pytest.approx(2 / 13)


def test_a_closed_loop_keeps_its_clients_busy() -> None:
    clock = Virtual()

    def ask(row: int) -> None:
        clock.time += 0.25

    found = Loop(ask, ROWS, clock=clock).closed(clients=1, duration_s=3.0, timeout_s=9.0)
    assert np.diff(found.begun_s).tolist() == [0.25] * 11
    four = threading.Barrier(4, lambda: ask(0), timeout=60)
    found = Loop(lambda row: four.wait(), ROWS, clock=clock).closed(
        clients=4, duration_s=0.5, timeout_s=9.0
    )
    assert sorted(found.row.tolist()) == sorted([*ROWS.tolist(), 0])


@pytest.mark.parametrize("kind", ["open", "closed"])
def test_the_error_of_one_thread_ends_the_others_at_once(kind: str) -> None:
    asked = []

    def fails(row: int) -> None:
        asked.append(row)
        if len(asked) >= 3:
            raise KeyError(row)

    loop, began, late = Loop(fails, ROWS), time.monotonic(), np.array([0, 0, 0, 600, 600])
    offer = {  # others wait for arrivals in ten minutes, or ask for so long
        "open": lambda: loop.open(late, workers=3, timeout_s=FOREVER),
        "closed": lambda: loop.closed(clients=3, duration_s=600, timeout_s=FOREVER),
    }[kind]
    with pytest.raises(KeyError):
        offer()
    assert time.monotonic() - began < 300
    assert len(asked) <= 5


@pytest.mark.parametrize("capacity", [0.3, 7.0, 40.0, 900.0])
def test_bisection_encloses_the_highest_rate(capacity: float) -> None:
    low, high = rates_to_try(lambda rate: rate <= capacity, 10.0)
    assert low <= capacity < high <= 1.05 * low
    assert rates_to_try(lambda rate: rate <= capacity <= 900, capacity, capacity / 4) == (
        capacity / 4, math.inf,
    )  # fmt: skip


def hits(*docs: int) -> Hits:
    found = Hits.empty(1, 3)
    found.docs[0, : len(docs)] = docs
    found.scores[0, : len(docs)] = np.arange(len(docs), 0, -1)
    return found


def test_answers_are_compared_with_those_of_a_single_client() -> None:
    answers = Answers({2: hits(1, 2), 0: hits(3, 4)})
    requests = RawLoad.of([2, 0, 2], *np.zeros((3, 3)), [0, 0, 0])
    for number, (row, answer) in enumerate([(2, hits(1, 2)), (0, hits(4, 9)), (2, hits(2, 1))]):
        answers.keep(number, row, answer)
    found = answers.compared(requests, 3, lambda all_hits: all_hits.docs[:, 0].astype(float))
    assert found.same.tolist() == [1, 0, 0]
    assert found.overlap.tolist() == [1, 0.5, 1]
    assert found.value.tolist() == [1, 4, 2]
    assert found.single.tolist() == [1, 3, 1]


def slow_by(clock: Virtual, service_s: float) -> Callable[[int], Hits]:
    def ask(row: int) -> Hits:
        clock.time += service_s
        return hits(row)

    return ask


def run(plan: LoadPlan, service_s: float) -> tuple[LoadRun, RawLoad]:
    clock = Virtual()
    ask = slow_by(clock, service_s)
    made = LoadRun(plan, ask, 9, lambda all_hits: np.ones(9), seed=0, clock=clock)
    return made, made.run()


def test_the_highest_rate_of_a_known_server(tmp_path: Path) -> None:
    """With a server of 10 ms and constant arrivals, only rates up to 100 per s keep 10 ms."""
    plan = LoadPlan(rates=(20,), p99_ms=10.5, clients=(1,), arrivals="constant", duration_s=5)
    made, requests = run(plan, 0.01)
    write_load(tmp_path / "load.parquet", requests)
    load = summarise_load(plan, made.offered, read_load(tmp_path / "load.parquet"), 3)
    assert load.highest is not None
    assert load.highest.rate == load.highest.low
    low, high = load.highest.low or 0, load.highest.high or 0
    assert 95 < low <= 100.1 < high <= 1.05 * low
    assert load.trials[1].throughput == pytest.approx(100)
    assert {one.same for one in load.trials} == {1.0}
    assert load.queries == 9
    assert load.cold is None


def test_a_cold_start_is_no_trial(tmp_path: Path) -> None:
    """Nine queries take 40 ms after a start of 2 s, then 10 ms; one answer differs."""
    begun = 2 + np.cumsum([0.0] + [0.04] * 9 + [0.01] * 8)
    asked = []

    def cold(rows: list[int]) -> Asked:
        asked.extend(rows)
        found = [hits(row) for row in rows * 2]
        found[3] = hits(rows[3], rows[0] + 50)
        return Asked(begun, begun + np.repeat([0.04, 0.01], 9), found)

    clock = Virtual()
    plan = LoadPlan(clients=(1,), duration_s=1)
    made = LoadRun(plan, slow_by(clock, 0.01), 9, lambda _: np.ones(9), seed=0, clock=clock)
    write_load(tmp_path / "load.parquet", made.run(cold))
    load = summarise_load(plan, made.offered, read_load(tmp_path / "load.parquet"), 3)
    found = load.cold
    assert found is not None
    assert sorted(asked) == list(range(9))
    assert (found.ready_s, found.first_answer_s) == pytest.approx((2, 2.04))
    assert (found.first.p50_ms, found.steady.p50_ms) == pytest.approx((40, 10))
    assert (found.n, found.same) == (9, pytest.approx(8 / 9))
    assert [one.n for one in load.trials] == [pytest.approx(100, abs=1)]


def test_rates_and_times_are_parsed_and_wrong_plans_refused() -> None:
    assert parse_numbers(["10,50", "1.5"], "--rate") == [10, 50, 1.5]
    assert [parse_seconds(text, "--p99") for text in ("50ms", "10 s", "2min", "3")] == [
        0.05, 10, 120, 3,
    ]  # fmt: skip
    for wrong in (lambda: parse_numbers(["1,"], "--rate"), lambda: parse_seconds("1h", "--p99")):
        with pytest.raises(BadParameter):
            wrong()
    for wrong_plan in ({}, {"p99_ms": 1e4}, {"rates": (1e6,)}, {"rates": (0,)}, {"clients": (0,)}):
        with pytest.raises(ValidationError):
            LoadPlan(**wrong_plan)  # type: ignore[arg-type]


def test_a_page_has_a_row_for_each_trial() -> None:
    plan = LoadPlan(rates=(20,), p99_ms=10.5, clients=(1,), arrivals="constant", duration_s=5)
    made, requests = run(plan, 0.01)
    requests.same[0], requests.overlap[0], requests.value[0] = 0, 0.5, 0.25
    load = summarise_load(plan, made.offered, requests, 3)
    record = make_record()
    assert record.profile is not None
    profile = record.profile.model_copy(update={"load": load})
    text = render(page([record.model_copy(update={"profile": profile})]), "markdown")
    assert "20.0 per s" in text
    assert "1 client " in text
    assert "20.0 per s: answers differ from a single client's: overlap of the first 10 .995" in text
    assert "p99 within 10.5 ms up to" in text


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["D", "M"])
def test_real_time_agrees_with_queueing_theory(kind: str) -> None:
    """Compare p50 and p99 of a sleeping server with the recursion on its measured times."""
    mean, slept = 0.02, list[float]()
    times = arrivals(0.6 / mean, 40.0, kind="poisson", seed=5)
    rng = np.random.default_rng(6)
    drawn = iter(np.full(len(times), mean) if kind == "D" else rng.exponential(mean, len(times)))

    def ask(row: int) -> None:
        began = time.perf_counter()
        time.sleep(next(drawn))
        slept.append(time.perf_counter() - began)

    found = Loop(ask, ROWS).open(times, workers=1, timeout_s=FOREVER)
    service = np.array(slept)
    expected = lindley(times, service) + service
    for share in (0.5, 0.99):
        assert np.quantile(latencies_s(found, FOREVER), share) == pytest.approx(
            np.quantile(expected, share), rel=0.05
        )


@pytest.mark.parametrize(
    ("rate", "p99_ms", "verdict"),
    [(20, 10.5, "within"), (20, 9.5, "exceeded"), (21, 10.5, "missing"), (7, 99, "undecided")],
)
def test_a_gate_bounds_p99_at_a_rate(rate: float, p99_ms: float, verdict: str) -> None:
    """A server of 10 ms is within 10.5; 7 per s give too few requests for p99."""
    plan = LoadPlan(rates=(20, 7), arrivals="constant", duration_s=20)
    made, requests = run(plan, 0.01)
    record = make_record()
    assert record.profile is not None
    load = summarise_load(plan, made.offered, requests, 3)
    loaded = record.model_copy(update={"profile": record.profile.model_copy(update={"load": load})})
    cells = {("m", "t"): (loaded, Path())}
    rules = GateRules(quality=(), load=(LoadRule(rate=rate, p99_ms=p99_ms),))
    (found,) = judge(cells, cells, rules)
    assert found.verdict == verdict, found.detail
