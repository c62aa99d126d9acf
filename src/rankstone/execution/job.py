"""A job: one method on one task, with everything that its process needs."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from rankstone.benchmarks.dataset import Sources
from rankstone.profiling.machine import environment
from rankstone.results.record import Environment, LoadPlan
from rankstone.runners.api.budget import UNLIMITED, Limit
from rankstone.specs import MethodSpec, TaskSpec

QUERY_BATCH = 1024


class Job(BaseModel):
    """Input of a cell's process, as JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: MethodSpec
    task: TaskSpec
    data: Path | None
    cache: Path
    staging: Path
    """An empty folder for the files beside the record."""
    seed: int = 0
    device: str = "cpu"
    threads: int
    workspace: Path
    command: tuple[str, ...] = ()
    budget: Limit = UNLIMITED
    """Limits of the cost of requests to APIs."""
    load: LoadPlan | None = None
    """Trials under load, after all other measurements; None for none."""
    sample: bool = False
    """True to measure only a sample, for a forecast."""
    prepared: dict[str, str] | None = None
    """As in `Sources`."""
    slices: tuple[str, ...] = ()
    """Address of the cluster, and nodes with the vectors of exact search; empty for this one."""

    @property
    def sources(self) -> Sources:
        return Sources(data=self.data, cache=self.cache, prepared=self.prepared)

    def environment(self) -> Environment:
        """Describe the machine and the software that run the job."""
        return environment(
            self.threads, self.seed, self.command, device=self.device, workspace=self.workspace
        )
