"""The record's sections that follow from definitions and data, whether or not the cell ran."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from rankstone.benchmarks.dataset import Dataset
from rankstone.results.record import MethodInfo, Policy, TaskInfo
from rankstone.runners.protocols import AnyRunner
from rankstone.specs import MethodSpec, TaskSpec


def task_info(
    task: TaskSpec, dataset: Dataset | None = None, *, text: str | None = None
) -> TaskInfo:
    """The record's task section; sizes and digests are null where the data was not opened.

    `text`: the template that was used, where a method has its own.
    """
    known: dict[str, Any] = {}
    if dataset is not None:
        known = {
            "source": dataset.source,
            "sha256": dataset.sha256,
            "n_documents": len(dataset.corpus),
            "n_queries": len(dataset.query_ids),
            "n_judgements": None if dataset.answers is not None else len(dataset.judgements.query),
            "n_unknown_documents": dataset.n_unknown_documents,
        }
    return TaskInfo(
        name=task.name,
        digest=task.digest(),
        dataset=task.dataset,
        split=task.split,
        text=task.text if text is None else text,
        headline=task.headline,
        **known,
    )


def method_info(method: MethodSpec, runner: AnyRunner | None = None) -> MethodInfo:
    """The record's method section; a runner that was built adds what it says of itself."""
    return MethodInfo(
        name=method.name,
        digest=method.digest(),
        adapter=method.adapter,
        parameters=method.parameters,
        description=dict(runner.describe()) if runner is not None else {},
    )


def policy(task: TaskSpec) -> Policy:
    return Policy(
        depth=task.depth, self_hits=task.self_hits, relevance=task.relevance, judge=task.judge
    )


def now() -> str:
    """ISO 8601, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
