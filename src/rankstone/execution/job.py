"""A cell: one method on one task, and all that its process needs to know."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from rankstone.benchmarks.dataset import Sources
from rankstone.specs import MethodSpec, TaskSpec

LATENCY_QUERIES = 200
LATENCY_WARMUP = 20
LATENCY_BUDGET_S = 30.0
"""No more queries are timed, nor asked to warm up, after so long each; a slow method's record has
fewer of them."""
QUERY_BATCH = 1024


class Job(BaseModel):
    """What the parent hands to a cell's process, as JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: MethodSpec
    task: TaskSpec
    data: Path | None
    cache: Path
    staging: Path
    """An empty folder for the files beside the record."""
    seed: int = 0
    threads: int
    workspace: Path
    command: tuple[str, ...] = ()

    @property
    def sources(self) -> Sources:
        return Sources(data=self.data, cache=self.cache)
