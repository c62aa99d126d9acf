"""Runs of many cells in turn: a failed cell leaves a record, and the others still run."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import NamedTuple

from rankstone.benchmarks.dataset import Dataset, Sources
from rankstone.benchmarks.store import open_dataset
from rankstone.errors import DefinitionError, ModelError, RankstoneError
from rankstone.evaluation.evaluate import parse_all
from rankstone.execution.cell_key import cell_key, model_files
from rankstone.execution.forecasts.capacity import refuse, refuse_large_models
from rankstone.execution.forecasts.forecast import before_run
from rankstone.execution.job import Job
from rankstone.execution.process import Limits, Outcome, failed, run_process
from rankstone.execution.reporting import Reporter
from rankstone.execution.trial import refuse_deadly
from rankstone.files import temporary_folder
from rankstone.profiling.device import AUTO, check, kind, parsed, resolve
from rankstone.profiling.machine import PACKAGES, fingerprint, package_versions, usable_cores
from rankstone.progress import Progress
from rankstone.results.record import (
    Forecast,
    LoadPlan,
    Measured,
    MethodInfo,
    Policy,
    Profile,
    Provenance,
    RunRecord,
    TaskInfo,
    now,
)
from rankstone.results.store import ResultStore, Staged
from rankstone.runners.api.budget import Limit as Limit
from rankstone.runners.api.budget import Purse as Purse
from rankstone.runners.construct import build_runner, code_digest, untrained
from rankstone.runners.objects.method import pack
from rankstone.runners.search.engines.servers.versions import Servers as Servers
from rankstone.specs import MethodSpec, TaskSpec
from rankstone.training.parts import data_digests, refuse_missing


class Machine(NamedTuple):
    """A machine that measures cells, with the facts on which keys and comparisons depend."""

    threads: int
    fingerprint: str
    device: str = ""
    """Kind of device; empty for that of the sweep."""

    @classmethod
    def this(cls) -> Machine:
        return cls(usable_cores(), fingerprint())


Cell = Callable[[Reporter], RunRecord]
"""Measures a cell, or finds its record."""
Key = Callable[[Machine], str]
"""Key of a cell, given the machine that measures it."""
SAMPLING = threading.Lock()
"""Held while this machine measures a sample: cells of a cluster start concurrently."""


class Machines:
    """Machines that measure cells: here this one, one cell after another."""

    def refuse_device(self, device: str) -> None:
        """Raise DefinitionError if the device for methods that state none is absent."""
        check(device)

    def opened(self) -> AbstractContextManager[object]:
        """Acquire the resources for measurements until the block ends."""
        return contextlib.nullcontext()

    def each(self, cells: Sequence[Cell], reporter: Reporter) -> Iterator[RunRecord]:
        """Measure the cells of a task, and yield their records in order."""
        return (cell(reporter) for cell in cells)

    def kinds(self) -> Sequence[Machine]:
        """Return the kinds of machines, whose stored records are reused."""
        return [Machine.this()]

    def refuse(self, forecast: Forecast, job: Job) -> None:
        """Raise DoesNotFitError where memory or disk is too small for a cell."""
        refuse_large_models(job)
        refuse(forecast, job)

    def run(
        self,
        job: Callable[[], Job],
        forecast: Forecast | None,
        dataset: Dataset,
        limits: Limits,
        progress: Progress,
    ) -> tuple[Machine, Outcome]:
        """Measure a cell, and return where."""
        return Machine.this(), run_process(job(), limits, progress)


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Every method on every task."""

    methods: tuple[MethodSpec, ...]
    tasks: tuple[TaskSpec, ...]
    sources: Sources
    store: ResultStore
    workspace: Path
    limits: Limits = field(default_factory=Limits)
    seed: int = 0
    device: str = AUTO
    """The device for methods that state none: see `rankstone.profiling.device`."""
    force: bool = False
    purse: Purse = field(default_factory=Purse)
    """Budget of all cells for requests to APIs."""
    servers: Servers = field(default_factory=Servers)
    load: LoadPlan | None = None
    """Trials under load; stored records without them are measured again."""
    command: tuple[str, ...] = ()
    machines: Machines = field(default_factory=Machines)

    def run(self, reporter: Reporter) -> Iterator[RunRecord]:
        """Yield each cell's record, in order, as soon as it is stored.

        Raises RankstoneError before anything runs if the definition of a method is invalid, an
        extra is not installed, an adapter ends the process that imports it, a measure is unknown or
        too deep, or results cannot be written.
        """
        self.store.check_writable()
        self.check()
        for task in self.tasks:
            parse_all(task.measures, task.depth, task.judge)
        with self.machines.opened():
            for task in self.tasks:
                opened = self.opened(task, reporter)
                cells = [partial(self._cell, one, task, opened) for one in self.methods_on(task)]
                yield from self.machines.each(cells, reporter)

    def check(self) -> None:
        """Raise RankstoneError for an absent device or an invalid definition of a method."""
        self.machines.refuse_device(self._device)
        stated = (method for task in self.tasks for method in self.methods_on(task))
        for method in {one.digest(): one for one in stated}.values():
            self._check(method)

    def methods_on(self, task: TaskSpec) -> list[MethodSpec]:
        """Return the methods as they run on a task."""
        return [method.on_task(task.name, task.instruction) for method in self.methods]

    @cached_property
    def _device(self) -> str:
        return resolve(parsed(self.device, "--device"))

    def _check(self, method: MethodSpec) -> None:
        """Build the runner; errors other than faults of its definition are left to its cells."""
        refuse_deadly(method)
        refuse_missing(method)
        try:
            build_runner(untrained(method))
        except ModelError:
            return
        except (KeyboardInterrupt, RankstoneError):
            raise
        except BaseException:  # includes SystemExit, and panics of Rust libraries
            return

    def opened(self, task: TaskSpec, reporter: Reporter) -> Dataset | BaseException:
        """Prepare the data once for all methods; an error becomes a record of each of its cells."""
        try:
            return open_dataset(task, self.sources, reporter)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            return error

    def _cell(
        self,
        method: MethodSpec,
        task: TaskSpec,
        opened: Dataset | BaseException,
        reporter: Reporter,
    ) -> RunRecord:
        began, started = time.monotonic(), now()
        reporter.started(f"{method.name} on {task.name}")
        dataset = opened if isinstance(opened, Dataset) else None
        try:
            if isinstance(opened, BaseException):
                raise opened
            key = self.keys(method, task, opened)
            former = self._stored_equal(key, method)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            record = self._record(method, task, dataset, "", failed(error), started)
            if not isinstance(error, DefinitionError):  # an undefined name has no row in a table
                self.store.write(record)
        else:
            if former is not None:
                self.store.forget_failure(former)
                reporter.finished(former, reused=True, seconds=time.monotonic() - began)
                return former
            # On the disk of the results, so that files can be renamed into place.
            with temporary_folder(self.store.folder, ".cell-{}") as staging:
                pack(method, staging)
                job = partial(self.job, method, task, staging)
                forecast, machine, outcome = self._run(job, key, opened, reporter)
                self.purse.take_over(staging)
                record = self._record(method, task, dataset, key(machine), outcome, started)
                record = record.model_copy(update={"forecast": forecast})
                record = self.store.write(record, _side_files(staging, outcome))
        reporter.finished(record, reused=False, seconds=time.monotonic() - began)
        return record

    def _stored_equal(self, key: Key, method: MethodSpec) -> RunRecord | None:
        """Return the record of an equal cell on any machine that may measure this one."""
        return next(
            filter(None, (self.stored(key, method, m) for m in self.machines.kinds())), None
        )

    def stored(self, key: Key, method: MethodSpec, machine: Machine) -> RunRecord | None:
        """Return the record of an equal cell on a machine, with the requested trials and the same
        servers; None if the cell has to be measured."""
        if self.force:
            return None
        record = self.store.find(key(machine), machine=machine.fingerprint)
        return record if record and self._suffices(record, method) else None

    def _suffices(self, record: RunRecord, method: MethodSpec) -> bool:
        load = record.load
        tried = self.load is None or (load is not None and load.plan == self.load)
        return tried and self.servers.same(method, record.method.description)

    def _run(
        self, job: Callable[[], Job], key: Key, dataset: Dataset, reporter: Reporter
    ) -> tuple[Forecast | None, Machine, Outcome]:
        """Run the cell, unless memory or disk is too small for its forecast."""
        found = None
        try:
            with SAMPLING:
                found = before_run(job(), key(Machine.this()), dataset, reporter)
            asked = found
            if not self.force:
                self.machines.refuse(found or Forecast(), job())
            elif found is not None:
                asked = found.model_copy(update={"peak_rss_bytes": None})
            return found, *self.machines.run(job, asked, dataset, self.limits, reporter)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # from the sample or its libraries, or no process started
            return found, Machine.this(), failed(error)

    def keys(self, method: MethodSpec, task: TaskSpec, dataset: Dataset) -> Key:
        """Return the key of the cell by measuring machine; the data is read here, once."""
        of = partial(
            cell_key,
            method,
            task,
            data=dataset.sha256,
            models=model_files(method),
            code=code_digest(method),
            packages=package_versions(PACKAGES),
            seed=self.seed,
            training=(
                *dataset.train_sha256.values(),
                *data_digests(method, dataset, self.sources),
            ),
        )
        return lambda on: of(device=on.device or kind(self._device), threads=on.threads)

    def job(self, method: MethodSpec, task: TaskSpec, staging: Path) -> Job:
        """Return the input of the cell's process."""
        return Job(
            method=method,
            task=task,
            data=self.sources.data,
            cache=self.sources.cache,
            staging=staging,
            seed=self.seed,
            device=self._device,
            threads=usable_cores(),
            workspace=self.workspace,
            command=self.command,
            budget=self.purse.left,
            load=self.load,
        )

    def _record(
        self,
        method: MethodSpec,
        task: TaskSpec,
        dataset: Dataset | None,
        key: str,
        outcome: Outcome,
        started: str,
    ) -> RunRecord:
        """Return the cell's record, from its measurements or from the facts known without them."""
        measured = outcome.measured or Measured(
            task=TaskInfo.of(task, dataset.facts() if dataset else None, text=method.text),
            method=MethodInfo.of(method),
            environment=self.job(method, task, self.store.folder).environment(),
            profile=Profile(phases=dict(outcome.phases)),
        )
        sections = dict(measured)
        origin = {name: sections.pop(name) for name in ("cache_keys", "resumed")}
        seen = {"peak_rss_bytes": _peak(measured.profile, outcome), "wall_s": outcome.wall_s}
        sections["profile"] = measured.profile.model_copy(update=seen)
        return RunRecord(
            status=outcome.status,
            error=outcome.error,
            key=key,
            policy=Policy.of(task),
            provenance=Provenance(started=started, finished=now(), **origin),
            **sections,
        )


def _peak(profile: Profile, outcome: Outcome) -> int | None:
    """Return the larger of the peak observed from outside and the peaks of the phases run here.

    A short peak may fall between two observations; the peak of a cached phase is from an earlier
    run.
    """
    own = (phase.peak_rss_bytes for phase in profile.phases.values() if not phase.from_cache)
    return max((n for n in (outcome.peak_rss_bytes, *own) if n is not None), default=None)


def _side_files(staging: Path, outcome: Outcome) -> Staged:
    if outcome.status != "ok":
        return Staged()
    load = {"load": file} if (file := staging / "load.parquet").is_file() else {}
    return Staged(
        run=staging / "run.trec.zst",
        per_query=staging / "per_query.parquet",
        latency=staging / "latency.parquet",
        **load,
    )
