"""The actor that measures one cell on a node reserved for it."""

from __future__ import annotations

import os
from typing import NamedTuple

from rankstone.execution.cluster.failures import Failed, attempted
from rankstone.execution.cluster.parcels import Parcel, Receiver
from rankstone.execution.job import Job
from rankstone.execution.process import Limits, Outcome, interrupted, run_process
from rankstone.files import cache_root, temporary_folder
from rankstone.runners.objects.method import pack

Event = tuple[str, int, int | None]
"""Progress, as in `rankstone.progress`."""


class Measured(NamedTuple):
    """Outcome of a cell, and the files beside its record."""

    outcome: Outcome
    files: dict[str, bytes]


class Seat(Receiver):
    """An actor that runs cells as this machine would, each in its own process."""

    def __init__(self) -> None:
        self._event: Event = ("start", 0, None)

    def measure(self, job: str, parcel: Parcel, limits: Limits) -> Measured | Failed:
        """Run a job, given as JSON; its folders are replaced by those of this node."""
        return attempted(lambda: self._measure(Job.model_validate_json(job), parcel, limits))

    def stop(self) -> None:
        """Make `measure` end its process and remove its folder."""
        interrupted.set()

    def progress(self) -> Event:
        """Return the latest progress."""
        return self._event

    def _measure(self, job: Job, parcel: Parcel, limits: Limits) -> Measured:
        root = cache_root()
        os.environ["RANKSTONE_CACHE"] = str(root)
        root.mkdir(parents=True, exist_ok=True)
        with temporary_folder(root, ".cell-{}") as staging:
            method = parcel.opened()
            pack(method, staging)
            here = {"method": method, "cache": root, "data": None, "staging": staging}
            outcome = run_process(job.model_copy(update=here), limits, self._note)
            kept = [path for path in staging.iterdir() if path.is_file()]
            return Measured(outcome, {path.name: path.read_bytes() for path in kept})

    def _note(self, work: str, done: int, total: int | None) -> None:
        self._event = (work, done, total)
