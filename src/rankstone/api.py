"""The Python API: the commands of the same names, as functions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from rankstone.benchmarks.dataset import Sources
from rankstone.errors import DefinitionError, RankstoneError, ResultsError
from rankstone.files import PathLike
from rankstone.specs import MethodSpec, TaskSpec
from rankstone.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

    from rankstone.evaluation.conventions import Comparison
    from rankstone.execution.sweep import Reporter, Sweep
    from rankstone.leaderboards.site.build import Built
    from rankstone.results.record import RunRecord
    from rankstone.results.store import ResultStore
    from rankstone.scoring.task_qrels import Judged

Named = TypeVar("Named", str, str | MethodSpec, str | TaskSpec)


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
    model_path: PathLike | None = None,
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
        model_path: folder with the weights of the one method, wherever its definition looks.

    Returns: one record per cell, task by task; look at ``record.status``.

    Raises: RankstoneError, before anything runs, where a name or a definition is wrong.
    """
    from rankstone.execution.sweep import Silent

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
        model_path=model_path,
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
    model_path: PathLike | None = None,
    command: tuple[str, ...] = (),
) -> Sweep:
    """The cells that `run` with the same arguments runs, not yet run."""
    from rankstone.execution.process import Limits
    from rankstone.execution.sweep import Sweep

    place = find_place(workspace)
    found = find_tasks(place, tasks)
    chosen = tuple(place.method(m) if isinstance(m, str) else m for m in several(methods))
    if model_path is not None:
        if len(chosen) != 1:
            raise DefinitionError("--model-path is for one method at a time. Name one.")
        chosen = (chosen[0].at(Path(model_path).resolve()),)
    return Sweep(
        methods=chosen,
        tasks=tuple(task.limited(queries=limit_queries, depth=k) for task in found),
        sources=find_sources(data, cache),
        store=find_store(results, place),
        workspace=place.root,
        limits=Limits(timeout_s=timeout_s, memory_bytes=memory_limit_bytes),
        seed=seed,
        force=force,
        command=command,
    )


def score(
    run: PathLike,
    on: str | TaskSpec | None = None,
    *,
    qrels: PathLike | None = None,
    relevance: int = 1,
    name: str | None = None,
    results: PathLike | None = None,
    data: PathLike | None = None,
    cache: PathLike | None = None,
    workspace: PathLike | None = None,
    command: tuple[str, ...] = (),
    reporter: Reporter | None = None,
) -> RunRecord:
    """Score a TREC run file of any other tool, and store its record beside those of runners.

    Args:
        run: the file; plain, `.gz` or `.zst`.
        on: the task; or else
        qrels: a file of judgements, in TREC or BEIR form, under which a label of at least
            `relevance` is relevant.
        name: of the method in the record; `runs/<file name>` by default.

    Returns: the record as stored; what is odd about the file stands in its ``warnings``.

    Raises: RankstoneError, where the file, the task or its data is wrong.
    """
    from rankstone.execution.sweep import Silent
    from rankstone.scoring.score_file import score_file
    from rankstone.scoring.task_qrels import file_task, open_judged

    place = find_place(workspace)
    if on is not None and qrels is None:
        task = place.task(on) if isinstance(on, str) else on
    elif qrels is not None and on is None:
        task = file_task(Path(qrels), relevance=relevance)
    else:
        raise DefinitionError("Name either a task (--on TASK) or a file of judgements (--qrels).")
    told = (reporter or Silent()).preparing
    judged = open_judged(
        task, find_sources(data, cache), lambda what, n, of: told(task, what, n, of)
    )
    return score_file(
        Path(run),
        judged,
        find_store(results, place),
        name=name,
        command=command,
        workspace=place.root,
    )


def verify(
    record: RunRecord,
    path: PathLike,
    *,
    data: PathLike | None = None,
    cache: PathLike | None = None,
    workspace: PathLike | None = None,
) -> list[str]:
    """Where the record stored at `path` is not what its run and judgements give; a sentence each.

    Means and values per query must agree to 1e-9, intervals to 1e-6, files by their sha256.
    """
    from rankstone.scoring.verification import differences

    place, sources = find_place(workspace), find_sources(data, cache)
    return list(differences(record, Path(path), lambda r: _judged(r, place, sources)))


def compare_rules(
    record: RunRecord,
    path: PathLike,
    tool: str,
    *,
    data: PathLike | None = None,
    cache: PathLike | None = None,
    workspace: PathLike | None = None,
) -> list[Comparison]:
    """The run of the record stored at `path` under its own rules and under those of `tool`.

    `tool` is a key of `rankstone.evaluation.conventions.TOOLS`.

    Raises: RankstoneError, where the record has no run, answers judge it (the tools know labels
        of documents alone), or its task's data cannot be opened.
    """
    from rankstone.evaluation.conventions import TOOLS, Rules, compare
    from rankstone.leaderboards.frame import measure_order

    if record.files.run is None:
        raise ResultsError(f"{path}: the record has no run, so nothing can be recomputed from it.")
    if record.policy.judge == "answers":
        raise ResultsError(
            f"{record.task.name} is judged by answers, and {tool} reads labels of documents, which "
            "it has not: among what a run found, those that hold an answer would pass for all that "
            f"is relevant. Look at Accuracy@k instead: rankstone show {record.method.name}"
            f"@{record.task.name}"
        )
    judged = _judged(record, find_place(workspace), find_sources(data, cache))
    run, policy = judged.read(Path(path).with_name(record.files.run)), record.policy
    return compare(
        run,
        judged.qrels_for(run),
        measures=measure_order([record]),
        depth=policy.depth,
        ours=Rules(relevance=policy.relevance, self_hits=policy.self_hits),
        tool=TOOLS[tool],
        dataset=record.task.dataset,
    )


def _judged(record: RunRecord, place: Workspace, sources: Sources) -> Judged:
    """The judgements of the record's task, as the task is defined today."""
    from rankstone.scoring.task_qrels import open_judged

    return open_judged(_task(record, place), sources)


def _task(record: RunRecord, place: Workspace) -> TaskSpec:
    """The record's task; one that no file defines is made again from what the record says."""
    from rankstone.benchmarks.task_names import recorded_task
    from rankstone.scoring.task_qrels import FILE_TASKS, file_task

    name, source = record.task.name, record.task.source or ""
    if name.partition("@")[0] in place.tasks:
        return place.task(name)
    if name.startswith(FILE_TASKS):
        return file_task(Path(source), relevance=record.policy.relevance)
    return recorded_task(name, source, record.task.split) or place.task(name)


def leaderboard(records: Iterable[RunRecord]) -> pd.DataFrame:
    """One row per record: quality with intervals, latency, memory, index size, status."""
    from rankstone.leaderboards.frame import leaderboard as table

    return table(list(records))


def site(
    output: PathLike,
    *,
    results: PathLike | None = None,
    data: PathLike | None = None,
    cache: PathLike | None = None,
    workspace: PathLike | None = None,
    pairs: int = 5,
) -> Built:
    """Write the stored records as one folder of static pages; an older site there is replaced.

    Args:
        output: the folder.
        data: where texts of queries and documents are looked up, with `cache`; nothing is fetched.
        pairs: of each data set's so many best methods, every two have a page.

    Raises: RankstoneError, where a record cannot be read, `output` holds something else than a
        site, or what draws plots is not installed.
    """
    from rankstone.leaderboards.site.build import build, known_means
    from rankstone.leaderboards.site.model import Texts, make_site
    from rankstone.scoring.text_lookup import find_texts

    place, sources = find_place(workspace), find_sources(data, cache)
    store = find_store(results, place)
    if not store.folder.is_dir():
        raise ResultsError(
            f"{store.folder}: no folder is there. Name that of the records: --results"
        )
    stored = store.stored()
    records = [record for record, _ in stored]

    def look(
        record: RunRecord, queries: Collection[str], documents: Collection[str]
    ) -> Texts | str:
        try:
            task = _task(record, place)
        except RankstoneError as error:
            return str(error)
        found = find_texts(task, record, queries, documents, sources)
        return found if isinstance(found, str) else Texts(*found)

    made = make_site(stored, _defined(records, place), look)
    suites = [place.suite(name) for name in place.suites]
    return build(made, Path(output).resolve(), means=known_means(records, suites), best=pairs)


def _defined(records: Iterable[RunRecord], place: Workspace) -> dict[str, MethodSpec]:
    """The definitions of the records' methods, of those that are defined here."""
    known = set(place.method_names())
    return {name: place.method(name) for name in {r.method.name for r in records} & known}


def find_store(results: PathLike | None, place: Workspace) -> ResultStore:
    """The records in the folder `results`, or in that of the workspace."""
    from rankstone.results.store import ResultStore

    return ResultStore(Path(results) if results is not None else place.results)


def find_place(workspace: PathLike | None) -> Workspace:
    return Workspace.find(Path(workspace) if workspace is not None else None)


def find_tasks(place: Workspace, tasks: Sequence[str | TaskSpec] | str) -> list[TaskSpec]:
    """Suites replaced by their tasks, names by specs; a task that comes twice is kept once."""
    given = several(tasks)
    specs = [s for t in given for s in (place.expand(t) if isinstance(t, str) else [t])]
    return list({spec.name: spec for spec in specs}.values())


def find_sources(data: PathLike | None = None, cache: PathLike | None = None) -> Sources:
    """`data` and `cache`, or what the environment names, or the user's cache folder."""
    return Sources.find(data, cache)


def several(given: Sequence[Named] | str) -> Sequence[Named | str]:
    return [given] if isinstance(given, str) else given
