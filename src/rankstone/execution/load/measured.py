"""Measurement of a cell under load: trials at rates, with clients, for the highest rate."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from rankstone.arrays import Ints
from rankstone.execution.load.answers import Answers, Score
from rankstone.execution.load.cold_start import QUERIES as COLD_QUERIES
from rankstone.execution.load.cold_start import TURNS, Asked
from rankstone.execution.load.generator import Clock, Loop, WallClock, arrivals
from rankstone.execution.load.highest_rate import rates_to_try
from rankstone.profiling.load import passes, trial
from rankstone.results.per_query import ANSWERED, COLD, STEADY, RawLoad
from rankstone.results.record import MOST_REQUESTS, LoadPlan
from rankstone.runners.protocols import Hits

QUERIES = 200
"""Maximum number of distinct queries."""
BUDGET_S = 30.0
"""Time limit of a single client's answers to them."""
Offered = list[tuple[float | None, int | None]]
"""The rate, or the number of clients, of each trial."""


class LoadRun:
    """Trials of one plan.

    Args:
        ask: answers the query of a row.
        score: see `Answers`.
        report: receives the number of finished trials.
    """

    def __init__(
        self,
        plan: LoadPlan,
        ask: Callable[[int], Hits],
        n_queries: int,
        score: Score,
        *,
        seed: int,
        report: Callable[[int], None] = lambda done: None,
        clock: Clock | None = None,
    ) -> None:
        self._plan, self._ask, self._score, self._seed = plan, ask, score, seed
        self._n_queries, self._report, self._clock = n_queries, report, clock or WallClock()
        self.offered: Offered = []
        self._found: list[RawLoad] = []

    def run(self, cold: Callable[[list[int]], Asked | None] = lambda rows: None) -> RawLoad:
        """Return the requests of all trials; `offered` describes the trials.

        Args:
            cold: has a new process answer the queries of these rows; returns None if it cannot.
        """
        began = self._clock.now()
        answers = Answers(self._single_client())
        service_s = (self._clock.now() - began) / len(answers.single)
        rows = np.array(list(answers.single), dtype=np.int64)
        for rate in self._plan.rates:
            self._trial(answers, rows, rate=rate)
        for clients in self._plan.clients:
            self._trial(answers, rows, clients=clients)
        if self._plan.p99_ms is not None:
            self._search(answers, rows, self._plan.workers / max(service_s, 1e-6))
        if (asked := cold(rows[:COLD_QUERIES].tolist())) is not None:
            self._found.append(self._cold(answers, np.tile(rows[:COLD_QUERIES], TURNS), asked))
        return RawLoad.joined(self._found)

    def _single_client(self) -> dict[int, Hits]:
        """Run the queries one at a time, in an order by the seed; this is also the warm-up."""
        end, found = time.monotonic() + BUDGET_S, dict[int, Hits]()
        for row in np.random.default_rng(self._seed).permutation(self._n_queries).tolist():
            found[row] = self._ask(row)
            if len(found) == QUERIES or time.monotonic() > end:
                break
        return found

    def _cold(self, answers: Answers, rows: Ints, asked: Asked) -> RawLoad:
        """Return the requests to a new process, of the first and of the second pass."""
        for number, (row, hits) in enumerate(zip(rows.tolist(), asked.hits, strict=True)):
            answers.keep(number, row, hits)
        times = (asked.begun_s, asked.begun_s, asked.ended_s)
        requests = RawLoad.of(rows, *times, np.full(len(rows), ANSWERED))
        trials = np.repeat([COLD, STEADY], len(rows) // TURNS)
        return answers.compared(requests, self._n_queries, self._score)._replace(trial=trials)

    def _search(self, answers: Answers, rows: Ints, capacity: float) -> None:
        """Run the rates of a bisection, two or three times each."""

        def judged(rate: float) -> bool:
            votes = [self._passes(answers, rows, rate) for _ in range(2)]
            if votes[0] != votes[1]:
                votes.append(self._passes(answers, rows, rate))
            return sum(votes) > len(votes) / 2

        rates_to_try(judged, capacity / 2, MOST_REQUESTS / self._plan.duration_s)

    def _passes(self, answers: Answers, rows: Ints, rate: float) -> bool:
        return passes(trial(self._plan, rate, None, self._trial(answers, rows, rate=rate)))

    def _trial(
        self,
        answers: Answers,
        rows: Ints,
        *,
        rate: float | None = None,
        clients: int | None = None,
    ) -> RawLoad:
        """Run a trial and add its requests."""
        plan, number = self._plan, len(self.offered)
        loop = Loop(self._ask, rows, keep=answers.keep, clock=self._clock)
        if rate is not None:
            seed = [self._seed, number]
            times = arrivals(rate, plan.duration_s, kind=plan.arrivals, seed=seed)
            limit = plan.request_timeout_s
            requests = loop.open(times, workers=plan.workers, timeout_s=limit, queue=plan.queue)
        else:
            requests = loop.closed(
                clients=clients or 1,
                duration_s=plan.duration_s,
                timeout_s=plan.request_timeout_s,
            )
        requests = answers.compared(requests, self._n_queries, self._score)
        self.offered.append((rate, clients))
        self._found.append(requests._replace(trial=np.full(len(requests.row), number)))
        self._report(len(self.offered))
        return self._found[-1]
