"""Requests at scheduled times (open loop), or by clients that wait for answers (closed loop).

In the open loop `workers` threads serve one queue, first come, first served. Each takes the next
request, waits until its arrival time, and serves it. Arrival times do not depend on the server, so
that the requests behind a slow one show its delay. There is no separate dispatcher thread.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, Literal, Protocol, TypeVar

import numpy as np

from rankstone.arrays import Floats, Ints
from rankstone.results.per_query import ABANDONED, ANSWERED, DROPPED, LATE, RawLoad

Answer = TypeVar("Answer")
NOTICE_S = 0.5
"""Seconds within which a thread that waits for an arrival notices an error in another."""


class Clock(Protocol):
    """Source of time; tests replace it by one that passes without waiting."""

    def now(self) -> float:
        """Return seconds since any origin."""

    def wait_until(self, when: float) -> None:
        """Return at `when`, or at once if that has passed."""


class WallClock:
    """Time of this machine."""

    now = staticmethod(time.perf_counter)

    def wait_until(self, when: float) -> None:
        while (left := when - time.perf_counter()) > 0:
            time.sleep(left)


def arrivals(
    rate: float, duration_s: float, *, kind: Literal["poisson", "constant"], seed: object
) -> Floats:
    """Return the (n,) seconds at which requests arrive, with n at least 1.

    For a Poisson process, n is drawn from a Poisson distribution and times are uniform in the
    interval.
    """
    if kind == "constant":
        return np.arange(max(1, int(rate * duration_s))) / rate
    rng = np.random.default_rng(seed)  # type: ignore[arg-type] # an int, or a list of them
    n = max(1, int(rng.poisson(rate * duration_s)))
    return np.sort(rng.uniform(0, duration_s, n))


class Loop(Generic[Answer]):
    """Requests of one trial, served by `ask`.

    Args:
        ask: answers the query of a row.
        keep: receives the number of a request, its row and the answer, outside its timed interval.
        rows: rows of the queries, which are asked in turn.
    """

    def __init__(
        self,
        ask: Callable[[int], Answer],
        rows: Ints,
        *,
        keep: Callable[[int, int, Answer], None] = lambda number, row, answer: None,
        clock: Clock | None = None,
    ) -> None:
        self._ask, self._keep, self._rows = ask, keep, rows.tolist()
        self._clock = clock or WallClock()
        self._lock, self._numbers = threading.Lock(), itertools.count()
        self._requests: dict[int, tuple[int, float, float, float, int]] = {}
        self._start = 0.0
        self._failed = threading.Event()
        """Set by the first error of `ask` or `keep`; then no thread serves another request."""

    def open(
        self, times: Floats, *, workers: int, timeout_s: float, queue: int | None = None
    ) -> RawLoad:
        """Serve requests that arrive at the (n,) `times`.

        Args:
            timeout_s: requests that wait longer are not served.
            queue: maximum number of waiting requests; requests that arrive beyond it are dropped.
        """
        waiting = deque[float]()  # times at which admitted requests leave the queue
        due: list[float] = times.tolist()

        def work() -> None:
            while (number := next(self._numbers)) < len(due):
                arrival = due[number]
                self._wait_until(self._start + arrival)
                if self._failed.is_set():
                    return
                with self._lock:
                    while waiting and waiting[0] <= arrival:
                        waiting.popleft()
                    full = queue is not None and len(waiting) >= queue
                    begun = min(self._now(), arrival + timeout_s)
                    if not full:
                        waiting.append(begun)
                if full:
                    self._lost(number, arrival, arrival, DROPPED)
                elif begun >= arrival + timeout_s:
                    self._lost(number, arrival, begun, ABANDONED)
                else:
                    self._serve(number, arrival, timeout_s)

        return self._run(work, workers)

    def closed(self, *, clients: int, duration_s: float, timeout_s: float) -> RawLoad:
        """Serve `clients`, each of which sends its next request after an answer, at least once."""

        def work() -> None:
            while True:
                self._serve(next(self._numbers), None, timeout_s)
                if self._failed.is_set() or self._now() >= duration_s:
                    return

        return self._run(work, clients)

    def _now(self) -> float:
        return self._clock.now() - self._start

    def _wait_until(self, when: float) -> None:
        """Return at `when`, or soon after another thread failed."""
        while not self._failed.is_set() and (now := self._clock.now()) < when:
            self._clock.wait_until(min(when, now + NOTICE_S))

    def _row(self, number: int) -> int:
        row: int = self._rows[number % len(self._rows)]
        return row

    def _lost(self, number: int, arrival: float, left: float, state: int) -> None:
        self._requests[number] = (self._row(number), arrival, left, left, state)

    def _serve(self, number: int, arrival: float | None, timeout_s: float) -> None:
        row, begun = self._row(number), self._now()
        answer = self._ask(row)
        ended = self._now()
        since = begun if arrival is None else arrival
        state = ANSWERED if ended - since <= timeout_s else LATE
        self._requests[number] = (row, since, begun, ended, state)
        self._keep(number, row, answer)

    def _run(self, work: Callable[[], None], threads: int) -> RawLoad:
        """Run `work` in threads, including this one; an error in one ends all, and is raised."""

        def noticed() -> None:
            try:
                work()
            except BaseException:
                self._failed.set()
                raise

        self._start = self._clock.now()
        if threads == 1:
            work()
        else:
            with ThreadPoolExecutor(threads) as pool:
                for one in [pool.submit(noticed) for _ in range(threads)]:
                    one.result()
        row, scheduled, begun, ended, state = zip(
            *(self._requests[number] for number in sorted(self._requests)), strict=True
        )
        return RawLoad.of(row, scheduled, begun, ended, state)
