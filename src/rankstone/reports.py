"""What is made of stored records: the commands of the same names, as functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rankstone.api import find_place, find_sources, find_store, score, several, sweep
from rankstone.errors import DefinitionError, ResultsError, did_you_mean
from rankstone.files import PathLike

if TYPE_CHECKING:
    from rankstone.execution.sweep import Reporter, Sweep
    from rankstone.leaderboards.boards import Board
    from rankstone.leaderboards.compare import Comparison
    from rankstone.leaderboards.gate import GateRules, Judgement
    from rankstone.leaderboards.pages.report import Page
    from rankstone.leaderboards.papers.claims import Result
    from rankstone.leaderboards.papers.tables import Reproduction
    from rankstone.results.store import Cell, Found, ResultStore, Stored


def board(
    name: str, *, results: PathLike | None = None, workspace: PathLike | None = None
) -> Board:
    """The defined leaderboard of that name, over the records it names, or those of `results`.

    Raises: RankstoneError, where it is not defined or its records cannot be read.
    """
    from rankstone.leaderboards.boards import board as made
    from rankstone.leaderboards.boards import chosen_table, load_tables

    place = find_place(workspace)
    spec = chosen_table(load_tables(place.leaderboards), name)
    folder = place.root / spec.records if spec.records and results is None else results
    store = find_store(folder, place)
    stored = store.stored()
    tasks = [task.name for one in spec.tasks for task in place.expand(one)]
    alone = spec.tasks[0] if len(spec.tasks) == 1 and spec.tasks[0] in place.suites else None
    defined = set(place.method_names()) & {record.method.name for record, _ in stored}
    return made(
        spec,
        stored,
        tasks=list(dict.fromkeys(tasks)),
        suite=place.suite(alone) if alone else None,
        methods={method: place.method(method) for method in sorted(defined)},
    )


def report(
    methods: Sequence[str] | None = None,
    on: Sequence[str] | None = None,
    *,
    baseline: str | None = None,
    title: str = "Retrieval report",
    results: PathLike | None = None,
    workspace: PathLike | None = None,
) -> Page:
    """One page about the stored records of `methods` on the tasks `on`, or all.

    Raises: RankstoneError, where a name is of no record, or records cannot be compared.
    """
    from rankstone.leaderboards.pages.report import report as made

    store = find_store(results, find_place(workspace))
    stored = store.stored()
    known = list(dict.fromkeys(record.method.name for record, _ in stored))
    tasks = list(dict.fromkeys(record.task.name for record, _ in stored))
    wanted = {_recorded(name, known, "method", store) for name in methods or known}
    if baseline is not None:
        baseline = _recorded(baseline, known, "method", store)
        wanted.add(baseline)
    places = {_recorded(name, tasks, "task", store) for name in on or tasks}
    chosen = [s for s in stored if s[0].method.name in wanted and s[0].task.name in places]
    return made(chosen, baseline=baseline, title=title)


def export(
    records: Sequence[str] | None,
    to: str,
    folder: PathLike,
    *,
    results: PathLike | None = None,
    workspace: PathLike | None = None,
) -> list[Path]:
    """Write records, all or those named, into `folder` as `trec`, `ir_metadata`, `mteb` or
    `parquet`.

    Raises: RankstoneError, where one is not there, or lacks what the form needs.
    """
    from rankstone.results.exports import export as exported

    store = find_store(results, find_place(workspace))
    if records:
        stored = [store.named(name) for name in records]
    else:
        stored = [(record, path) for record, path in store.stored() if record.status == "ok"]
    if not stored:
        raise ResultsError(f"{store.folder}: no records to export. (rankstone run)")
    return exported(stored, to, Path(folder))


def import_mteb(
    files: Sequence[PathLike],
    *,
    name: str | None = None,
    results: PathLike | None = None,
    workspace: PathLike | None = None,
) -> list[Path]:
    """Store result files of MTEB as records; nothing is stored where one is at fault."""
    from rankstone.results.imports import read_mteb
    from rankstone.results.record import now

    place = find_place(workspace)
    store, when = find_store(results, place), now()
    found = [read_mteb(Path(file), place.tasks, name=name, when=when) for file in files]
    return [store.path(store.write(record)) for record in found]


def import_trec(
    files: Sequence[PathLike],
    on: str,
    *,
    name: str | None = None,
    results: PathLike | None = None,
    data: PathLike | None = None,
    cache: PathLike | None = None,
    workspace: PathLike | None = None,
    command: tuple[str, ...] = (),
) -> list[Path]:
    """Score TREC runs of one task and store their records, as `rankstone.score` does of one."""
    if name is not None and len(files) > 1:
        raise DefinitionError("--name is for one file at a time. Leave it out, or name one file.")
    store = find_store(results, find_place(workspace))
    return [
        store.path(
            score(file, on, name=name, results=results, data=data, cache=cache,
                  workspace=workspace, command=command)
        )
        for file in files
    ]  # fmt: skip


def compare(
    baseline: str,
    others: Sequence[str] | str,
    *,
    on: Sequence[str] | str | None = None,
    measure: str | None = None,
    results: PathLike | None = None,
    workspace: PathLike | None = None,
) -> list[Comparison]:
    """`baseline` against each of `others`, query by query, on every task that has both.

    Args:
        baseline, others: methods of stored records, in full or by their last parts.
        on: only these tasks.
        measure: instead of each task's headline.

    Raises: RankstoneError, where a name is of no record, or records cannot be compared.
    """
    from rankstone.leaderboards.compare import compare as compared

    store = find_store(results, find_place(workspace))
    found = {cell: one for cell, one in store.cells().items() if one[0].status == "ok"}
    methods = list(dict.fromkeys(method for method, _ in found))
    tasks = list(dict.fromkeys(task for _, task in found))
    if on is not None:
        kept = {_recorded(name, tasks, "task", store) for name in several(on)}
        found = {cell: one for cell, one in found.items() if cell[1] in kept}
    named = [_recorded(name, methods, "method", store) for name in (baseline, *several(others))]
    return compared(named[0], named[1:], found, measure=measure)


def gate(
    baseline: str,
    candidate: str,
    *,
    rules: PathLike | GateRules | None = None,
    on: Sequence[str] | str | None = None,
    results: PathLike | None = None,
    workspace: PathLike | None = None,
) -> list[Judgement]:
    """Whether `candidate` may replace `baseline`, by stored records.

    Args:
        baseline, candidate: folders of records, whose cells are compared by method and task; or
            methods of `results`, compared by task.
        rules: a file, or the rules; by default a headline may drop .005, and .02 at most.
        on: only these tasks, by full name.

    Raises: RankstoneError, where a side or a rule is not there.
    """
    from rankstone.leaderboards.gate import judge

    store = find_store(results, find_place(workspace))
    sides = [_side(name, store, candidate) for name in (baseline, candidate)]
    if on is not None:
        kept = set(several(on))
        sides = [{cell: s for cell, s in side.items() if cell[1] in kept} for side in sides]
        for task in sorted(kept - {task for side in sides for _, task in side}):
            raise ResultsError(f"neither side has a record of '{task}'. Correct --on.")
    return judge(sides[0], sides[1], _rules(rules))


def gate_ab(
    versions: tuple[str, str],
    methods: Sequence[str] | str,
    tasks: Sequence[str] | str,
    *,
    rounds: int,
    rules: PathLike | GateRules | None = None,
    data: PathLike | None = None,
    cache: PathLike | None = None,
    workspace: PathLike | None = None,
    told: Callable[[str], None] = lambda what: None,
) -> list[Judgement]:
    """Whether the second of two versions is dearer, measured in turns on this machine.

    Args:
        versions: checkouts, or commits of the repository around the workspace.
        rules: its rules of cost; by default a median latency of 1.1 times passes.

    Raises: RankstoneError, where a version or a cell does not run.
    """
    from rankstone.execution import ab_comparison as ab
    from rankstone.leaderboards.gate import CostRule, GateRules, judge_ratio

    if not methods or not tasks:
        raise DefinitionError("--ab needs what to run. Name it: --method METHOD --on TASK")
    stated = _rules(rules) if rules is not None else GateRules(quality=())
    bounds = stated.cost or (CostRule(figure="median latency", allowance=1.1),)
    place = find_place(workspace)
    found: list[Judgement] = []
    more = [(name, value) for name, value in (("--data", data), ("--cache", cache)) if value]
    arguments = tuple(str(part) for pair in more for part in pair)
    with ab.checkout(versions[0], place.root) as old, ab.checkout(versions[1], place.root) as new:
        for task in several(tasks):
            for method in several(methods):
                measured = ab.measure(
                    (old, new), method, task, rounds=rounds, arguments=arguments, told=told
                )
                found += [judge_ratio(rule, *measured, ratio=ab.ratio) for rule in bounds]
    return found


def _rules(rules: PathLike | GateRules | None) -> GateRules:
    from rankstone.leaderboards.gate import GateRules, load_rules

    if rules is None:
        return GateRules()
    return rules if isinstance(rules, GateRules) else load_rules(Path(rules))


def _side(name: str, store: ResultStore, label: str) -> dict[Cell, Stored]:
    """The records of a folder by method and task; or those of one method of `store`, by task.

    Nothing where there is neither: every cell of the other side then fails.
    """
    from rankstone.results.store import ResultStore

    folder = Path(name).expanduser()
    if folder.is_dir():
        return ResultStore(folder).cells()
    cells = store.cells()
    known = {method for method, _ in cells}
    found = [full for full in known if full == name or full.endswith(f"/{name}")]
    return {
        (label, task): one
        for (method, task), one in cells.items()
        if len(found) == 1 and method == found[0]
    }


def _recorded(name: str, known: Sequence[str], what: str, store: ResultStore) -> str:
    """The full name of a `method` or `task` that has records; ResultsError if none has."""
    matches = [full for full in known if full == name or full.endswith(f"/{name}")]
    if name in known or len(matches) == 1:
        return name if name in known else matches[0]
    if matches:
        raise ResultsError(f"{what} '{name}' is ambiguous: {', '.join(matches)}. Name one in full.")
    raise ResultsError(
        f"no record of the {what} '{name}' in {store.folder}.{did_you_mean(name, known)}"
        f" There are: {', '.join(known) or 'none'}."
    )


def check_claims(
    names: Sequence[str] = (),
    *,
    missing: Literal["run", "skip"] = "run",
    results: PathLike | None = None,
    data: PathLike | None = None,
    cache: PathLike | None = None,
    workspace: PathLike | None = None,
    command: tuple[str, ...] = (),
    reporter: Reporter | None = None,
) -> tuple[list[Result], Found]:
    """Hold the claims `names`, or all, against the runs that they need.

    Args:
        missing: `run` measures what is not stored with today's definitions, code and data; `skip`
            takes what is stored, and says of the rest that it was not measured.

    Returns: what was found of each claim, and the records by method and task.

    Raises: RankstoneError, before anything runs, where a name or a definition is wrong.
    """
    from rankstone.leaderboards.papers.claims import chosen_claims, evaluate_claim, load_claims

    place = find_place(workspace)
    chosen = chosen_claims(load_claims(place.claims), names)
    # Files scored before (`rankstone score`) have no definition; they can only be looked up.
    cells = {(m, t) for claim in chosen for m, t in claim.cells() if not m.startswith("runs/")}
    for method, task in cells:
        place.method(method)
        place.task(task)
    plan = partial(
        sweep, results=results, data=data, cache=cache, workspace=place.root, command=command
    )
    found = _held(cells, plan, find_store(results, place), missing, reporter)
    return [evaluate_claim(claim, found) for claim in chosen], found


def reproduce(
    tables: Sequence[str] = (),
    *,
    missing: Literal["run", "skip"] = "skip",
    results: PathLike | None = None,
    data: PathLike | None = None,
    cache: PathLike | None = None,
    workspace: PathLike | None = None,
    command: tuple[str, ...] = (),
    reporter: Reporter | None = None,
) -> list[Reproduction]:
    """Hold the published `tables`, or all, against what was measured.

    Args:
        missing: as in `check_claims`.

    Returns: each table with all its cells: within, above, below, or not run and why.

    Raises: RankstoneError, before anything runs, where a name or a definition is wrong.
    """
    from rankstone.benchmarks.availability import at_hand
    from rankstone.leaderboards.papers.tables import (
        Known,
        chosen_papers,
        load_papers,
        needed,
        refuse_unknown_tasks,
        reproduce_table,
    )

    place = find_place(workspace)
    chosen = chosen_papers(load_papers(place.papers), tables)
    sources = find_sources(data, cache)
    known = Known.of(
        map(place.method, place.method_names()),
        place.tasks,
        place.suites,
        {name for paper in chosen for name in paper.tasks},
        lambda task: at_hand(task, sources),
    )
    for paper in chosen:
        refuse_unknown_tasks(paper, known)
    plan = partial(
        sweep, results=results, data=data, cache=cache, workspace=place.root, command=command
    )
    cells = {cell for paper in chosen for cell in needed(paper, known)}
    found = _held(cells, plan, find_store(results, place), missing, reporter)
    return [reproduce_table(paper, found, known) for paper in chosen]


def _held(
    cells: set[Cell],
    plan: Callable[[Sequence[str], str], Sweep],
    store: ResultStore,
    missing: Literal["run", "skip"],
    reporter: Reporter | None,
) -> Found:
    """All that is stored, after `cells` were run or reused where `missing` says so."""
    if missing == "run":
        from rankstone.execution.sweep import run_cells

        run_cells(cells, plan, reporter)
    return store.cells()
