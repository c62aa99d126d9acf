"""Runs of methods on tasks, their forecasts, and their measurement under load."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, cast

from rankstone.errors import DefinitionError, MissingExtraError
from rankstone.files import PathLike
from rankstone.session.scores import Scores
from rankstone.workspace import NONE, Changes, Methods, Tasks, several

if TYPE_CHECKING:
    from rankstone.execution.sweep import Machines, Sweep
    from rankstone.leaderboards.shown import ShownList
    from rankstone.results.record import Planned, RunRecord
    from rankstone.results.store import Cell, Found

P = ParamSpec("P")
Missing = Literal["run", "skip"]


def _completed(
    plan: Callable[Concatenate[Runs, P], Sweep],
) -> Callable[Concatenate[Runs, P], ShownList[RunRecord]]:
    """Return the method that runs the sweep of `plan`, with the parameters of `plan`."""

    def run(self: Runs, /, *args: P.args, **options: P.kwargs) -> ShownList[RunRecord]:
        """Run every method on every task and store one record per cell.

        Each cell runs in a fresh process. The arguments are those of `sweep`.

        Returns: one record per cell, task by task; ``record.status`` states the outcome.

        Raises: RankstoneError, before anything runs, if a name or a definition is wrong.
        """
        from rankstone.leaderboards.pages.leaderboard import page
        from rankstone.leaderboards.shown import ShownList

        records = list(plan(self, *args, **options).run(self._reporter))
        more = cast("Sequence[str] | str", options.get("measures", ()))
        shown = self.with_measures(records, more)
        return ShownList(shown, lambda these: page(self.labelled(these)), "record")

    return functools.wraps(plan, assigned=(), updated=())(run)


def _forecast(
    sweep: Callable[Concatenate[Runs, P], Sweep],
) -> Callable[Concatenate[Runs, P], ShownList[Planned]]:
    """Return the method that forecasts the cells of `sweep`, with the parameters of `sweep`."""

    def plan(self: Runs, /, *args: P.args, **options: P.kwargs) -> ShownList[Planned]:
        """Return a forecast of every cell: time, memory, index, disk and price.

        Only samples of the cells run, and no request is sent to a paid API. The arguments are
        those of `sweep`.

        Raises: RankstoneError, before anything is sampled, if a name or a definition is wrong.
        """
        from rankstone.execution.forecasts.plan import planned
        from rankstone.leaderboards.forecasts.plan_page import page
        from rankstone.leaderboards.shown import ShownList

        cells = list(planned(sweep(self, *args, **options), self._reporter))
        return ShownList(cells, page, "cell")

    return functools.wraps(sweep, assigned=(), updated=())(plan)


def _cluster(address: str | bool, device: str) -> Machines:
    """Return the nodes of a Ray cluster; MissingExtraError if Ray is not installed."""
    from rankstone.execution.cluster.connection import refuse_missing
    from rankstone.execution.cluster.machines import Cluster

    refuse_missing()
    return Cluster(address=address if isinstance(address, str) else "", device=device)


@dataclass(frozen=True, kw_only=True)
class Runs(Scores):
    """The commands of a session that measure methods."""

    def sweep(
        self,
        methods: Methods,
        tasks: Tasks,
        *,
        k: int | None = None,
        limit_queries: int | None = None,
        timeout_s: float | None = None,
        memory_limit_bytes: int | None = None,
        seed: int = 0,
        device: str = "auto",
        force: bool = False,
        model_path: PathLike | None = None,
        budget_tokens: int | None = None,
        budget_usd: float | None = None,
        changes: Changes = NONE,
        measures: Sequence[str] | str = (),
        task_name: str | None = None,
        ray: str | bool | None = None,
    ) -> Sweep:
        """Return the cells that `run` would run with the same arguments.

        Args:
            methods: names (`rankstone list runners`), specs, or Python objects: runners (see
                `rankstone.Runner`), and functions `search(queries, k)` that return scores by
                document id for each query. A single method, or a single task, needs no list.
            tasks: names of tasks and suites (`rankstone list benchmarks`), or specs.
            k: depth of the runs, instead of the depth of the tasks.
            limit_queries: number of judged queries to use, from the first one on.
            timeout_s, memory_limit_bytes: limits of a cell; a cell that exceeds a limit fails.
            seed: random seed of all methods.
            device: `cpu`, `cuda`, `cuda:N` or `mps`, for methods whose definition states no device;
                `auto`: the device of RANKSTONE_DEVICE, else the best available device.
            force: measure cells again whose results are stored with matching digests.
            model_path: folder with weights for the only method, instead of those of its definition.
            budget_tokens, budget_usd: limits of the requests to APIs. A cell fails before it would
                exceed a limit, and its finished shards are kept.
            changes: parameters set by hand, a name, candidates of cross-encoders.
            measures: further measures, which `run` adds to the stored records (`with_measures`).
            task_name: name, in records, of the only task, which has no definition.
            ray: address of the Ray cluster whose nodes encode and measure; True: the cluster of
                this machine or of RAY_ADDRESS, or else a new cluster on this machine.

        Raises: RankstoneError, if a name or a definition is wrong.
        """
        from rankstone.evaluation.evaluate import parse_all
        from rankstone.execution.process import Limits
        from rankstone.execution.sweep import Limit, Machines, Purse, Sweep

        definitions = self.definitions
        given = self._tasks_under(definitions, tasks, task_name)
        named = [task.limited(queries=limit_queries, depth=k) for task in given]
        for task in named:
            parse_all(several(measures), task.depth, task.judge)
        return Sweep(
            methods=tuple(definitions.methods(methods, weights=model_path, changes=changes)),
            tasks=tuple(named),
            sources=self.sources,
            store=self._store(definitions),
            workspace=definitions.root,
            limits=Limits(timeout_s=timeout_s, memory_bytes=memory_limit_bytes),
            seed=seed,
            device=device,
            force=force,
            purse=Purse(Limit(budget_tokens, budget_usd)),
            command=self.command,
            machines=_cluster(ray, device) if ray else Machines(),
        )

    run = _completed(sweep)
    plan = _forecast(sweep)

    def load(
        self,
        methods: Methods,
        tasks: Tasks,
        *,
        rates: Sequence[float] | float = (),
        p99_ms: float | None = None,
        clients: Sequence[int] | int = (),
        duration_s: float = 10.0,
        arrivals: Literal["poisson", "constant"] = "poisson",
        workers: int = 1,
        queue: int | None = None,
        request_timeout_s: float = 10.0,
        updates: float | None = None,
        **cells: Any,
    ) -> ShownList[RunRecord]:
        """Measure latency and throughput under load; the records have the section `profile.load`.

        Args:
            rates: requests per second of an open loop; each rate is one trial.
            p99_ms: limit of the p99 latency, for which the highest rate is searched.
            clients: numbers of clients of a closed loop; each number is one trial.
            duration_s: time in which requests arrive, in each trial.
            arrivals: a Poisson process, or constant intervals.
            workers: threads that serve the open loop.
            queue: maximum number of waiting requests; further requests are dropped.
            request_timeout_s: time limit of a request, from its arrival.
            updates: insertions and deletions per second, while searches arrive at the first rate.
            cells: other arguments of `sweep`.

        Returns: one record per cell, task by task.

        Raises: RankstoneError, before anything runs, if an argument or a definition is wrong.
        """
        from pydantic import ValidationError

        from rankstone.leaderboards.loads.page import page
        from rankstone.leaderboards.shown import ShownList
        from rankstone.results.record import LoadPlan

        try:
            plan = LoadPlan(
                rates=(rates,) if isinstance(rates, (int, float)) else tuple(rates),
                p99_ms=p99_ms,
                clients=(clients,) if isinstance(clients, int) else tuple(clients),
                duration_s=duration_s,
                arrivals=arrivals,
                workers=workers,
                queue=queue,
                request_timeout_s=request_timeout_s,
                updates=updates,
            )
        except ValidationError as error:
            faults = [
                (*map(str, fault["loc"]), fault["msg"].removeprefix("Value error, "))
                for fault in error.errors()
            ]
            text = "; ".join(map(": ".join, faults))
            raise DefinitionError(f"{text}. (rankstone load --help)") from None
        swept = replace(self.sweep(methods, tasks, **cells), load=plan)
        more = cells.get("measures", ())
        records = self.with_measures(list(swept.run(self._reporter)), more)
        return ShownList(records, lambda these: page(self.labelled(these)), "record")

    def _lacking(self, cells: Iterable[Cell], missing: Missing) -> dict[str, str]:
        """Return the install line of each method of `cells` that lacks an extra, if any is run."""
        found = dict[str, str]()
        for method, tasks in _grouped(cells) if missing == "run" else ():
            try:
                self.sweep(method, tasks).check()
            except MissingExtraError as error:
                found[method] = str(error)
        return found

    def _measured(self, cells: Iterable[Cell], missing: Missing) -> Found:
        """Return all stored records; if `missing` is `run`, `cells` are run or reused first."""
        if missing == "run":
            from rankstone.execution.sweep import Servers

            servers = Servers()
            for task, methods in _grouped((task, method) for method, task in cells):
                list(replace(self.sweep(methods, task), servers=servers).run(self._reporter))
        return self.store.cells()


def _grouped(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, list[str]]]:
    """Return each first name with the second names of its pairs, sorted."""
    found: dict[str, set[str]] = {}
    for first, second in pairs:
        found.setdefault(first, set()).add(second)
    return [(first, sorted(found[first])) for first in sorted(found)]
