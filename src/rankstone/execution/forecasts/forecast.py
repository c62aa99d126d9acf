"""Forecast of a cell: time, memory, index, disk and price, before it runs."""

from __future__ import annotations

from pathlib import Path

import pydantic

from rankstone.benchmarks.dataset import Dataset
from rankstone.execution.forecasts.api_price import api_forecast, api_parts
from rankstone.execution.forecasts.capacity import is_small
from rankstone.execution.forecasts.extrapolation import extrapolated
from rankstone.execution.job import Job
from rankstone.execution.process import Limits, Outcome, run_process
from rankstone.files import appearing
from rankstone.progress import Progress
from rankstone.results.record import Forecast
from rankstone.runners.construct import untrained

LONGEST_S = 300.0
"""Time limit of a sample."""
NO_SAMPLE = "no sample"
"""Start of the note of a forecast whose sample failed; the cell would fail likewise."""


def forecast(job: Job, dataset: Dataset, progress: Progress) -> Forecast:
    """Return the forecast of the cell of `job`, from a sample measured in its own process.

    The process runs the cell on some documents and queries. No requests are sent to a paid API; for
    its methods only the price is forecast. Unknown values are null, with a note.

    Args:
        job: job of the cell; several forecasts may use its staging folder.
    """
    if api_parts(job.method):
        return api_forecast(job, dataset)
    converted = _networks(job)
    outcome = _sample(job, progress)
    if _networks(job) != converted:  # once per model: the cell reuses them
        outcome = _sample(job, progress)
    if outcome.sampled is None:
        fault = outcome.error.message if outcome.error else outcome.status
        return Forecast(cores=job.threads, notes=[f"{NO_SAMPLE}: {fault}"])
    start_s = outcome.sampled.start_s + (outcome.wall_s or 0.0)
    sampled = outcome.sampled.model_copy(update={"start_s": start_s})
    found = extrapolated(sampled, threads=job.threads)
    return found.model_copy(update={"notes": [*found.notes, *_notes(job)]})


def _notes(job: Job) -> list[str]:
    trains = untrained(job.method) != job.method
    return [f"{job.method.name}: its training is not forecast"] if trains else []


def _sample(job: Job, progress: Progress) -> Outcome:
    limits = Limits(timeout_s=LONGEST_S)
    return run_process(job.model_copy(update={"sample": True}), limits, progress)


def _networks(job: Job) -> set[Path]:
    """Return the models that engines have converted."""
    return {*(job.cache / "networks").glob("*")}


def before_run(job: Job, key: str, dataset: Dataset, progress: Progress) -> Forecast | None:
    """Return the forecast of a cell that is about to run.

    A stored forecast is used once, because the cache changes. Otherwise a new one is made, unless
    the cell is small. A method that a recipe trains first has none: its initial model may have
    other layers, or no head.
    """
    found = kept(job, key)
    _path(job, key).unlink(missing_ok=True)
    if untrained(job.method) != job.method:
        return found
    if found is None and (api_parts(job.method) or not is_small(job, dataset)):
        found = forecast(job, dataset, progress)
    return found


def keep(job: Job, key: str, found: Forecast) -> None:
    """Store the forecast of the cell `key` in the cache, for its run."""
    path = _path(job, key)
    path.parent.mkdir(parents=True, exist_ok=True)
    with appearing(path) as file:
        file.write(found.model_dump_json().encode())


def kept(job: Job, key: str) -> Forecast | None:
    """Return the stored forecast of the cell `key`; None if there is none that can be read."""
    try:
        return Forecast.model_validate_json(_path(job, key).read_bytes())
    except (OSError, pydantic.ValidationError):
        return None


def _path(job: Job, key: str) -> Path:
    return job.cache / "forecasts" / f"{key}.json"
