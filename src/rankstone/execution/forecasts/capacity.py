"""Comparison of forecasts with the available memory and disk."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from rankstone.benchmarks.dataset import Dataset
from rankstone.errors import DoesNotFitError
from rankstone.execution.job import Job
from rankstone.files import existing, gib
from rankstone.profiling.memory import available
from rankstone.results.record import Forecast
from rankstone.runners.construct import parts
from rankstone.runners.models import HERE, WEIGHTS, _NotThereError, model_files
from rankstone.specs import ModelSpec

SMALL_CHARS = 1e9
"""Number of characters of a collection below which no sample is measured before a run; each counts
tenfold if the method has a model."""
MODEL = 10
SAMPLED_DOCUMENTS = 64
"""Number of documents from whose lengths the size of a collection is estimated."""


def is_small(job: Job, dataset: Dataset) -> bool:
    """Return True for a cell that takes minutes, for which a sample would be a waste of time."""
    n = len(dataset.corpus)
    rows = np.unique(np.linspace(0, max(n - 1, 0), min(SAMPLED_DOCUMENTS, n)).astype(np.int64))
    texts = dataset.corpus.take(rows)
    characters = n * sum(map(len, texts)) / max(len(texts), 1)
    models = any(part.models for _, part in parts(job.method))
    return characters * (MODEL if models else 1) < SMALL_CHARS


def refuse_large_models(job: Job, memory: int | None = None, where: str = "") -> None:
    """Raise DoesNotFitError for weights that are larger than the available memory.

    Args:
        memory, where: bytes and name of another machine.
    """
    if str(job.method.parameters.get("device") or job.device) != "cpu":
        return
    size, free = sum(_weights(job)), available() if memory is None else memory
    if size > free:
        raise DoesNotFitError(
            f"{job.method.name}: its weights take {gib(size)}, and {gib(free)} of memory are"
            f" available{where}. Use a machine with more memory, or a smaller"
            " model; --force runs it anyway."
        )


def _weights(job: Job) -> Iterator[int]:
    """Yield the sizes in bytes of weight files, without reading them."""
    for _, part in parts(job.method):
        for folder in filter(None, map(_folder, part.models.values())):
            files = (folder / name for name in model_files(folder))
            yield from (file.stat().st_size for file in files if file.suffix in WEIGHTS)


def _folder(model: ModelSpec) -> Path | None:
    """Return the folder with the files of a model; None if it is not on this machine."""
    if model.path is not None:
        return Path(os.path.expandvars(model.path)).expanduser() / model.folder
    for _, find in HERE:
        with contextlib.suppress(_NotThereError):
            return find(model) / model.folder
    return None


def refuse(found: Forecast, job: Job) -> None:
    """Raise DoesNotFitError if memory or disk is too small."""
    if faults := shortages(found, job):
        raise DoesNotFitError(
            f"{job.method.name} on {job.task.name}: {'; '.join(faults)}. Nothing was run."
            " --force runs it anyway."
        )


def shortages(found: Forecast, job: Job) -> list[str]:
    """Return the shortages of memory and disk, as sentences without full stop."""
    return [*_memory(found), *_disk(found, job)]


def _memory(found: Forecast) -> Iterator[str]:
    free = available()
    if found.peak_rss_bytes is not None and found.peak_rss_bytes > free:
        yield (
            f"it needs about {gib(found.peak_rss_bytes)} of memory, and"
            f" {gib(free)} are available (a smaller index or model, or more memory)"
        )


def _disk(found: Forecast, job: Job) -> Iterator[str]:
    """Compare with the disks of the cache and of the results, which may be the same disk."""
    encodings = found.cache_bytes or 0
    index = (found.disk_bytes or 0) - encodings
    wanted: dict[int, list[tuple[int, str, Path]]] = {}
    for need in ((encodings, "--cache", job.cache), (index, "--results", job.staging.parent)):
        folder = existing(need[2])
        wanted.setdefault(folder.stat().st_dev, []).append((need[0], need[1], folder))
    for needs in wanted.values():
        size, free = sum(need[0] for need in needs), shutil.disk_usage(needs[0][2]).free
        if size > free:
            options = " and ".join(need[1] for need in needs)
            yield (
                f"it needs about {gib(size)} of disk in {needs[0][2]}, and"
                f" {gib(free)} are free (another folder: {options}; or remove"
                " encodings: rankstone cache rm)"
            )
