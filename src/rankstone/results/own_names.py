"""User-defined names of tasks, each of which identifies one content."""

from __future__ import annotations

from rankstone.errors import ResultsError
from rankstone.results.store import ResultStore
from rankstone.specs import TaskSpec


def refuse_other_content(store: ResultStore, task: TaskSpec) -> None:
    """Raise ResultsError if the store has records of other content under the task's name."""
    for record in store.records():
        stored = record.task
        same = (stored.dataset, stored.split) == (task.dataset, task.split)
        if stored.name.partition("@")[0] == task.name and not same:
            raise ResultsError(
                f"{task.name} names other data in {store.folder}: {stored.dataset}, split"
                f" '{stored.split}'; this is {task.dataset}, split '{task.split}'. Name it"
                f" differently with --as, or remove those: rankstone records rm"
                f" {record.method.name}@{stored.name}"
            )
