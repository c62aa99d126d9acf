"""The stored runs that claims and published tables are held against, the missing ones run first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from rankstone.execution.progress import Silent
from rankstone.execution.sweep import Reporter, Sweep
from rankstone.results.store import ResultStore, Stored


def run_cells(
    cells: Iterable[tuple[str, str]],
    plan: Callable[[Sequence[str], str], Sweep],
    reporter: Reporter | None = None,
) -> None:
    """Run each (method, task) or reuse it, task by task: `plan` makes the sweep of one task."""
    methods: dict[str, set[str]] = {}
    for method, task in cells:
        methods.setdefault(task, set()).add(method)
    for task in sorted(methods):
        for _ in plan(sorted(methods[task]), task).run(reporter or Silent()):
            pass


def stored(store: ResultStore) -> dict[tuple[str, str], Stored]:
    """Every stored cell: (method, task) -> its record, and where that lies."""
    found: dict[tuple[str, str], Stored] = {}
    for record, path in store.stored():
        # A cell's figures come before its last failure, and the first machine before others.
        found.setdefault((record.method.name, record.task.name), (record, path))
    return found
