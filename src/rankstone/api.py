"""The Python API: `run` and `leaderboard`, the commands of the same names."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from rankstone.benchmarks.dataset import Sources
from rankstone.specs import MethodSpec, TaskSpec
from rankstone.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

    from rankstone.execution.sweep import Reporter, Sweep
    from rankstone.results.record import RunRecord

Named = TypeVar("Named", str, str | MethodSpec, str | TaskSpec)
PathLike = str | os.PathLike[str]


def run(
    methods: Sequence[str | MethodSpec] | str,
    tasks: Sequence[str | TaskSpec] | str,
    *,
    results: PathLike | None = None,
    data: PathLike | None = None,
    cache: PathLike | None = None,
    workspace: PathLike | None = None,
    k: int | None = None,
    limit_queries: int | None = None,
    timeout_s: float | None = None,
    memory_limit_bytes: int | None = None,
    seed: int = 0,
    force: bool = False,
    reporter: Reporter | None = None,
) -> list[RunRecord]:
    """Run every method on every task, each cell in a fresh process, and store its record.

    Args:
        methods: names (`rankstone list runners`) or specs.
        tasks: names of tasks and suites (`rankstone list benchmarks`), or specs.
        results: folder of the records; `results/` of the workspace by default.
        data: local mirror of collections; `RANKSTONE_DATA` by default.
        cache: prepared corpora and encodings; `RANKSTONE_CACHE`, else the user's cache folder.
        workspace: folder with `benchmarks/` and `runners/`; the nearest ancestor by default.
        k: depth of the runs, instead of the tasks' own.
        limit_queries: only the first so many judged queries.
        force: measure cells anew that were already measured with the same digests.

    Returns: one record per cell, task by task; look at ``record.status``.

    Raises: RankstoneError, before anything runs, where a name or a definition is wrong.
    """
    from rankstone.execution.progress import Silent

    plan = sweep(
        methods,
        tasks,
        results=results,
        data=data,
        cache=cache,
        workspace=workspace,
        k=k,
        limit_queries=limit_queries,
        timeout_s=timeout_s,
        memory_limit_bytes=memory_limit_bytes,
        seed=seed,
        force=force,
    )
    return list(plan.run(reporter or Silent()))


def sweep(
    methods: Sequence[str | MethodSpec] | str,
    tasks: Sequence[str | TaskSpec] | str,
    *,
    results: PathLike | None = None,
    data: PathLike | None = None,
    cache: PathLike | None = None,
    workspace: PathLike | None = None,
    k: int | None = None,
    limit_queries: int | None = None,
    timeout_s: float | None = None,
    memory_limit_bytes: int | None = None,
    seed: int = 0,
    force: bool = False,
    command: tuple[str, ...] = (),
) -> Sweep:
    """The cells that `run` with the same arguments runs, not yet run."""
    from rankstone.execution.process import Limits
    from rankstone.execution.sweep import Sweep
    from rankstone.results.store import ResultStore

    place = Workspace.find(Path(workspace) if workspace is not None else None)
    found = find_tasks(place, tasks)
    return Sweep(
        methods=tuple(place.method(m) if isinstance(m, str) else m for m in _several(methods)),
        tasks=tuple(task.limited(queries=limit_queries, depth=k) for task in found),
        sources=find_sources(data, cache),
        store=ResultStore(Path(results) if results is not None else place.results),
        workspace=place.root,
        limits=Limits(timeout_s=timeout_s, memory_bytes=memory_limit_bytes),
        seed=seed,
        force=force,
        command=command,
    )


def leaderboard(records: Iterable[RunRecord]) -> pd.DataFrame:
    """One row per record: quality with intervals, latency, memory, index size, status."""
    from rankstone.leaderboards.table import leaderboard as table

    return table(list(records))


def find_tasks(place: Workspace, tasks: Sequence[str | TaskSpec] | str) -> list[TaskSpec]:
    """Suites replaced by their tasks, names by specs; a task that comes twice is kept once."""
    given = _several(tasks)
    specs = [s for t in given for s in (place.expand(t) if isinstance(t, str) else [t])]
    return list({spec.name: spec for spec in specs}.values())


def find_sources(data: PathLike | None = None, cache: PathLike | None = None) -> Sources:
    """`data` and `cache`, or what the environment names, or the user's cache folder."""
    data = data or os.environ.get("RANKSTONE_DATA") or None
    cache = cache or os.environ.get("RANKSTONE_CACHE") or None
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rankstone"
    return Sources(
        data=Path(data).expanduser().resolve() if data else None,
        cache=Path(cache).expanduser().resolve() if cache else default,
    )


def _several(given: Sequence[Named] | str) -> Sequence[Named | str]:
    return [given] if isinstance(given, str) else given
