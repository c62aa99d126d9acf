"""Search while documents are inserted and deleted: before, during, and after compaction.

A tenth of the documents is deleted before the start. Updates alternate: the document that was
deleted longest ago is inserted under a new key, and another random document is deleted. One worker
serves one queue, so that the live documents at each search are known.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from rankstone.arrays import Ints
from rankstone.benchmarks.dataset import Dataset
from rankstone.errors import AdapterError
from rankstone.execution.context import CellContext
from rankstone.execution.load.generator import Clock, Loop, WallClock, arrivals
from rankstone.execution.load.measured import QUERIES
from rankstone.results.per_query import (
    ANSWERED,
    BEFORE,
    COMPACT,
    COMPACTED,
    DELETE,
    DROPPED,
    INSERT,
    UPDATING,
    RawLoad,
)
from rankstone.results.record import LoadPlan
from rankstone.runners.protocols import AnyRunner, Changing, Hits
from rankstone.runners.search.exactness import FIRST, exact_best

ABSENT = 0.1
"""Share of the documents that are deleted before the start."""
DEPTH = 1000
"""Number of results of exact search over all documents, from which the best live ones are taken."""


class Answer(NamedTuple):
    """Answer to a request: the keys that a search found; none for an update."""

    keys: Ints
    version: int
    """Number of changes of the index before it; for an update, with its own."""
    done: bool = True
    """False for an update that had no document to insert, or only one left to delete."""


def refuse_unchanging(index: object, dataset: Dataset, method: str) -> None:
    """Raise AdapterError if `index` does not support updates, or the task has filters."""
    if dataset.filters is not None:
        raise AdapterError(
            f"{method}: {dataset.task.name} has a filter, and updates are measured without one."
            " Leave out --updates."
        )
    if not isinstance(index, Changing):
        raise AdapterError(
            f"{method}: {type(index).__name__} cannot insert and delete, so it is not measured with"
            " updates. Leave out --updates, or measure an engine that can (docs/load.md)."
        )


def with_updates(
    plan: LoadPlan,
    runner: AnyRunner,
    index: Any,
    dataset: Dataset,
    ask: Callable[[int], Hits],
    context: CellContext,
) -> RawLoad:
    """Return the requests of the trials with updates, which change the index.

    Inserted documents are already encoded.
    """
    n, texts = len(dataset.corpus), dataset.query_texts
    rows = np.random.default_rng(context.seed).permutation(len(texts))[:QUERIES].tolist()
    found = exact_best(runner, [texts[row] for row in rows], min(n, DEPTH), context)
    best = dict.fromkeys(rows) if found is None else dict(zip(rows, found, strict=True))
    documents = context.encoded(getattr(runner, "encoder", runner))
    return UpdateRun(plan, index, ask, documents.take, best, n=n, seed=context.seed).run()


class UpdateRun:
    """Trials at the first rate of a plan.

    Args:
        ask: answers the query of a row, with keys.
        take: returns the encoded documents at positions.
        best: positions of the best documents by exact search over all documents, by row of each
            query; None if exact search is not available.
        n: number of documents. The key of a document is congruent to its position modulo `n`.
    """

    def __init__(
        self,
        plan: LoadPlan,
        index: Changing[Any],
        ask: Callable[[int], Hits],
        take: Callable[[Ints], Any],
        best: Mapping[int, Ints | None],
        *,
        n: int,
        seed: int,
        clock: Clock | None = None,
    ) -> None:
        self._plan, self._index, self._ask, self._take = plan, index, ask, take
        self._best, self._n, self._seed = best, n, seed
        self._rng, self._clock = np.random.default_rng([seed, 1]), clock or WallClock()
        self._keys = np.arange(n)
        self._absent = deque(self._rng.permutation(n)[: max(1, int(ABSENT * n))].tolist())
        self._changes: list[tuple[int, int]] = []
        self._live, self._replayed = np.arange(n), 0

    def run(self) -> RawLoad:
        """Return the requests of all trials, including updates and compaction."""
        self._index.delete(np.array(self._absent, dtype=np.int64))
        for position in self._absent:
            self._change(position, -1)
        found = [self._trial(BEFORE), self._trial(UPDATING, self._plan.updates or 0.0)]
        if callable(compact := getattr(self._index, "compact", None)):
            found.append(self._compaction(compact))
        found.append(self._trial(COMPACTED))
        return RawLoad.joined(found)

    def _change(self, position: int, key: int) -> None:
        """Record the new key of a document; -1 if it is absent."""
        self._keys[position] = key
        self._changes.append((position, key))

    def _trial(self, number: int, updates: float = 0.0) -> RawLoad:
        plan, seed = self._plan, [self._seed, -number]
        times = arrivals(plan.rates[0], plan.duration_s, kind=plan.arrivals, seed=seed)
        rows = np.resize(np.array(list(self._best)), len(times))
        if updates:
            more = arrivals(updates, plan.duration_s, kind=plan.arrivals, seed=[*seed, 1])
            times = np.concatenate([times, more])
            rows = np.concatenate([rows, np.resize([INSERT, DELETE], len(more))])
        order, answers = np.argsort(times, kind="stable"), dict[int, Answer]()
        loop = Loop(
            self._serve,
            rows[order],
            keep=lambda request, row, answer: answers.update({request: answer}),
            clock=self._clock,
        )
        limit = plan.request_timeout_s
        requests = loop.open(times[order], workers=1, timeout_s=limit, queue=plan.queue)
        return self._judged(requests, answers)._replace(trial=np.full(len(rows), number))

    def _serve(self, row: int) -> Answer:
        if row >= 0:
            return Answer(self._ask(row).docs[0], len(self._changes))
        before = len(self._changes)
        if row == INSERT and self._absent:
            self._insert(self._absent.popleft())
        if row == DELETE and len(self._absent) < self._n - 1:
            self._delete()
        version = len(self._changes)
        return Answer(np.empty(0, np.int64), version, done=version > before)

    def _insert(self, position: int) -> None:
        key = self._n * (1 + len(self._changes)) + position
        self._index.insert(np.array([key]), self._take(np.array([position])))
        self._change(position, key)

    def _delete(self) -> None:
        position = int(self._rng.integers(self._n))
        while self._keys[position] < 0:
            position = int(self._rng.integers(self._n))
        self._index.delete(self._keys[position : position + 1].copy())
        self._change(position, -1)
        self._absent.append(position)

    def _compaction(self, compact: Callable[[], None]) -> RawLoad:
        began = self._clock.now()
        compact()
        took = self._clock.now() - began
        event = RawLoad.of([COMPACT], [0.0], [0.0], [took], [ANSWERED])
        return event._replace(trial=np.array([UPDATING]))

    def _judged(self, requests: RawLoad, answers: dict[int, Answer]) -> RawLoad:
        """Return the requests with `same`: 1 if no result of a search had been deleted before it;
        and `overlap`: the share of the first results of exact search over the live documents.

        An update that changed nothing counts as dropped.
        """
        found, state = np.full((2, len(requests.row)), np.nan), requests.state.copy()
        for request in sorted(answers):
            row = int(requests.row[request])
            if row >= 0:
                self._replay(answers[request].version)
                found[:, request] = self._compared(answers[request].keys, self._best[row])
            elif not answers[request].done:
                state[request] = DROPPED
        return requests._replace(same=found[0], overlap=found[1], state=state)

    def _replay(self, version: int) -> None:
        for position, key in self._changes[self._replayed : version]:
            self._live[position] = key
        self._replayed = version

    def _compared(self, keys: Ints, best: Ints | None) -> tuple[float, float]:
        keys = keys[keys >= 0]
        live = self._live[keys % self._n] == keys
        if best is None:
            return float(live.all()), np.nan
        expected = best[self._live[best] >= 0][:FIRST]
        inside = np.isin(expected, keys[:FIRST][live[:FIRST]] % self._n)
        return float(live.all()), float(inside.mean()) if len(inside) else np.nan
