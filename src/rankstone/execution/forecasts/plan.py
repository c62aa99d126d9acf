"""Plan of a sweep: a forecast of every cell; only samples are run."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from rankstone.benchmarks.availability import is_available
from rankstone.benchmarks.dataset import Dataset
from rankstone.errors import DataError
from rankstone.execution.events import described
from rankstone.execution.forecasts.capacity import refuse_large_models, shortages
from rankstone.execution.forecasts.forecast import NO_SAMPLE, forecast, keep
from rankstone.execution.reporting import Reporter
from rankstone.execution.sweep import Machine, Sweep
from rankstone.results.record import Forecast, Planned
from rankstone.runners.objects.method import pack
from rankstone.specs import MethodSpec, TaskSpec


def planned(sweep: Sweep, reporter: Reporter) -> Iterator[Planned]:
    """Yield the forecast of each cell, in order, and store it for the cell's run.

    Raises RankstoneError before anything is sampled if the definition of a method is invalid, or
    the device is missing.
    """
    sweep.check()
    for task in sweep.tasks:
        opened = _opened(sweep, task, reporter)
        for method in sweep.methods_on(task):
            reporter.started(f"{method.name} on {task.name}")
            yield _planned(sweep, method, task, opened, reporter)


def _opened(sweep: Sweep, task: TaskSpec, reporter: Reporter) -> Dataset | BaseException:
    """Open the data of `task`, converted first if its files exist; nothing is downloaded."""
    if is_available(task, sweep.sources):
        return sweep.opened(task, reporter)
    return DataError(
        f"{task.name}: its documents are not on this machine, so nothing can be forecast."
        f" Run: rankstone data prepare {task.name}"
    )


def _planned(
    sweep: Sweep,
    method: MethodSpec,
    task: TaskSpec,
    opened: Dataset | BaseException,
    reporter: Reporter,
) -> Planned:
    plan = Planned(method=method.name, task=task.name, state="fails")
    try:
        if isinstance(opened, BaseException):
            raise opened
        return _of_cell(sweep, method, task, opened, reporter, plan)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # as in a run, one cell's failure does not end the others
        return plan.model_copy(update={"faults": [described(error)[1]]})


def _of_cell(
    sweep: Sweep,
    method: MethodSpec,
    task: TaskSpec,
    dataset: Dataset,
    reporter: Reporter,
    plan: Planned,
) -> Planned:
    here = Machine.this()
    keys = sweep.keys(method, task, dataset)
    key = keys(here)
    if sweep.stored(keys, method, here) is not None:
        return plan.model_copy(update={"state": "stored", "forecast": Forecast(seconds=0.0)})
    with tempfile.TemporaryDirectory(prefix="rankstone-plan-") as folder:
        pack(method, Path(folder))
        job = sweep.job(method, task, Path(folder))
        refuse_large_models(job)
        found = forecast(job, dataset, reporter)
        keep(job, key, found)
    faults = shortages(found, job.model_copy(update={"staging": sweep.store.folder / "cell"}))
    failed = [note for note in found.notes if note.startswith(NO_SAMPLE)]
    state = "fails" if failed else "does not fit" if faults else "runs"
    return plan.model_copy(update={"state": state, "forecast": found, "faults": [*failed, *faults]})
