"""The Python API: a `Session` knows the folders, and every command is a method of it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, TypeVar

from rankstone.benchmarks.dataset import Sources
from rankstone.errors import DataError, DefinitionError, ResultsError
from rankstone.files import PathLike
from rankstone.progress import Progress, silent
from rankstone.specs import MethodSpec, TaskSpec
from rankstone.workspace import Workspace, several

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import RenderableType

    from rankstone.benchmarks.availability import Entry
    from rankstone.benchmarks.dataset import Dataset
    from rankstone.benchmarks.prepared import Copy
    from rankstone.benchmarks.stats import Statistics
    from rankstone.encodings.inventory import Entry as Encoding
    from rankstone.evaluation.conventions import Comparison as RulesComparison
    from rankstone.execution.sweep import Reporter, Sweep
    from rankstone.leaderboards.boards import Board
    from rankstone.leaderboards.compare import Comparison
    from rankstone.leaderboards.document import Page
    from rankstone.leaderboards.gate import GateRules, Judgement
    from rankstone.leaderboards.papers.claims import Result
    from rankstone.leaderboards.papers.published import Published
    from rankstone.leaderboards.papers.tables import Reproduction
    from rankstone.leaderboards.site.build import Built
    from rankstone.leaderboards.site.model import Texts
    from rankstone.results.record import RunRecord
    from rankstone.results.store import Cell, Found, ResultStore, Stored
    from rankstone.scoring.task_qrels import Judged

P = ParamSpec("P")
T = TypeVar("T")
Missing = Literal["run", "skip"]


def _completed(
    plan: Callable[Concatenate[Session, P], Sweep],
) -> Callable[Concatenate[Session, P], list[RunRecord]]:
    """The method that runs what `plan` returns, with the parameters of `plan`."""

    def run(self: Session, /, *args: P.args, **options: P.kwargs) -> list[RunRecord]:
        """Run every method on every task, each cell in a fresh process, and store its record.

        The arguments are those of `sweep`.

        Returns: one record per cell, task by task; look at ``record.status``.

        Raises: RankstoneError, before anything runs, where a name or a definition is wrong.
        """
        return list(plan(self, *args, **options).run(self._reporter))

    return functools.wraps(plan, assigned=(), updated=())(run)


@dataclass(frozen=True, kw_only=True)
class Session:
    """Folders that commands read and write; definitions and records are read anew by each call."""

    workspace: PathLike | None = None
    """Folder with `benchmarks/` and `runners/`; the nearest ancestor by default."""
    results: PathLike | None = None
    """Folder of the records; `results/` of the workspace by default."""
    data: PathLike | None = None
    """Local mirror of collections in BEIR layout; `RANKSTONE_DATA` by default."""
    cache: PathLike | None = None
    """Prepared corpora and encodings; `RANKSTONE_CACHE`, else the user's cache folder."""
    command: tuple[str, ...] = ()
    """Command line, stored in the records that are written."""
    reporter: Reporter | None = None
    """Receives the progress of runs."""

    @property
    def definitions(self) -> Workspace:
        """The workspace's definitions.

        Raises: DefinitionError, where `workspace` is not one.
        """
        return Workspace.find(Path(self.workspace) if self.workspace is not None else None)

    @property
    def sources(self) -> Sources:
        """The folders in which data is looked up and kept."""
        return Sources.find(self.data, self.cache)

    @property
    def encodings_folder(self) -> Path:
        return self.sources.cache / "encodings"

    @property
    def store(self) -> ResultStore:
        """The folder of the records, which may be absent."""
        return self._store(self.definitions)

    def sweep(
        self,
        methods: Sequence[str | MethodSpec] | str,
        tasks: Sequence[str | TaskSpec] | str,
        *,
        k: int | None = None,
        limit_queries: int | None = None,
        timeout_s: float | None = None,
        memory_limit_bytes: int | None = None,
        seed: int = 0,
        force: bool = False,
        model_path: PathLike | None = None,
    ) -> Sweep:
        """Return the cells that `run` with the same arguments runs, not yet run.

        Args:
            methods: names (`rankstone list runners`) or specs.
            tasks: names of tasks and suites (`rankstone list benchmarks`), or specs.
            k: depth of the runs, instead of the tasks' own.
            limit_queries: only the first so many judged queries.
            timeout_s, memory_limit_bytes: limits of a cell; a cell that exceeds one fails.
            seed: of everything random.
            force: measure again where results with matching digests are stored.
            model_path: folder with the weights of the one method, instead of its definition's.

        Raises: RankstoneError, where a name or a definition is wrong.
        """
        from rankstone.execution.process import Limits
        from rankstone.execution.sweep import Sweep

        definitions = self.definitions
        return Sweep(
            methods=_located(definitions.methods(methods), model_path),
            tasks=tuple(
                t.limited(queries=limit_queries, depth=k) for t in definitions.named(tasks)
            ),
            sources=self.sources,
            store=self._store(definitions),
            workspace=definitions.root,
            limits=Limits(timeout_s=timeout_s, memory_bytes=memory_limit_bytes),
            seed=seed,
            force=force,
            command=self.command,
        )

    run = _completed(sweep)

    def score(
        self,
        run: PathLike,
        on: str | TaskSpec | None = None,
        *,
        qrels: PathLike | None = None,
        relevance: int = 1,
        name: str | None = None,
    ) -> RunRecord:
        """Score a TREC run file of any other tool, and store its record beside those of runners.

        Args:
            run: the file; plain, `.gz` or `.zst`.
            on: the task; or else
            qrels: a file of judgements, in TREC or BEIR form, under which a label of at least
                `relevance` is relevant.
            name: of the method in the record; `runs/<file name>` by default.

        Returns: the record as stored; its ``warnings`` state what is odd about the file.

        Raises: RankstoneError, where the file, the task or its data is wrong.
        """
        from rankstone.benchmarks.task_names import file_task
        from rankstone.scoring.score_file import score_file
        from rankstone.scoring.task_qrels import open_judged

        definitions = self.definitions
        if on is not None and qrels is None:
            task = definitions.task(on) if isinstance(on, str) else on
        elif qrels is not None and on is None:
            task = file_task(Path(qrels), relevance=relevance)
        else:
            raise DefinitionError(
                "Name either a task (--on TASK) or a file of judgements (--qrels)."
            )
        return score_file(
            Path(run),
            open_judged(task, self.sources, self._reporter),
            self._store(definitions),
            name=name,
            command=self.command,
            workspace=definitions.root,
        )

    def import_(
        self,
        files: Sequence[PathLike],
        source: Literal["mteb", "trec"],
        *,
        on: str | None = None,
        name: str | None = None,
    ) -> list[Path]:
        """Store MTEB's result files, or TREC runs of the task `on`, as records.

        Of MTEB's files none is stored where one is at fault.

        Returns: the files of the records.
        """
        from rankstone.results.imports import read_mteb
        from rankstone.results.record import now

        definitions = self.definitions
        store, when = self._store(definitions), now()
        if source == "trec":
            if name is not None and len(files) > 1:
                raise DefinitionError(
                    "--name is for one file at a time. Leave it out, or name one file."
                )
            return [store.path(self.score(file, on, name=name)) for file in files]
        records = [read_mteb(Path(file), definitions.tasks, name=name, when=when) for file in files]
        return [store.path(store.write(record)) for record in records]

    def export(self, records: Sequence[str] | None, to: str, folder: PathLike) -> list[Path]:
        """Write records, all or those named, into `folder` as `trec`, `ir_metadata`, `mteb` or
        `parquet`.

        Raises: RankstoneError, where a record is absent, or lacks what the form needs.
        """
        from rankstone.results.exports import export

        store = self.store
        if records:
            stored = [store.named(name) for name in records]
        else:
            stored = [(record, path) for record, path in store.stored() if record.status == "ok"]
        if not stored:
            raise ResultsError(f"{store.folder}: no records to export. (rankstone run)")
        return export(stored, to, Path(folder))

    def records(self, names: Sequence[str] = ()) -> list[Stored]:
        """Return the stored records and their files: those `names`, or all.

        Raises: ResultsError, where the named folder of records or one of the records is absent.
        """
        store = self._present_store()
        return [store.named(name) for name in names] if names else store.stored()

    def verify(self, record: RunRecord, path: PathLike) -> list[str]:
        """Return where the record stored at `path` differs from what its run and judgements give.

        Means and values per query must agree to 1e-9, intervals to 1e-6, files by their sha256.
        """
        from rankstone.scoring.verification import differences

        return list(differences(record, Path(path), self._judged))

    def compare_rules(self, record: RunRecord, path: PathLike, tool: str) -> list[RulesComparison]:
        """Evaluate the run of the record stored at `path` by its own rules and by those of `tool`.

        `tool` is a key of `rankstone.evaluation.conventions.TOOLS`.

        Raises: RankstoneError, where the record has no run, is judged by answers, or its task's
            data cannot be opened.
        """
        from rankstone.leaderboards.frame import measure_order
        from rankstone.scoring.verification import compare_rules

        measures = measure_order([record])
        return compare_rules(record, Path(path), tool, measures=measures, judged=self._judged)

    def leaderboard(self, records: Iterable[RunRecord] | None = None) -> pd.DataFrame:
        """Return one row per record, by default of all stored: quality with intervals, latency,
        memory, index size, status."""
        from rankstone.leaderboards.frame import leaderboard

        return leaderboard(self._records() if records is None else list(records))

    def suite_means(self, suite: str) -> pd.DataFrame:
        """Return the mean over a suite of every method that has stored records of it."""
        from rankstone.leaderboards.suites import suite_means

        return suite_means(self._records(), self.definitions.suite(suite))

    def board(self, name: str) -> Board:
        """Return the defined leaderboard `name` over the records it names, or those of `results`.

        Raises: RankstoneError, where it is not defined or its records cannot be read.
        """
        from rankstone.leaderboards.boards import board, chosen_table, load_tables
        from rankstone.results.store import ResultStore

        definitions = self.definitions
        spec = chosen_table(load_tables(definitions.leaderboards), name)
        named = spec.records and self.results is None
        store = ResultStore(definitions.root / spec.records) if named else self._store(definitions)
        stored = store.stored()
        alone = len(spec.tasks) == 1 and spec.tasks[0] in definitions.suites
        return board(
            spec,
            stored,
            tasks=[task.name for task in definitions.named(spec.tasks)],
            suite=definitions.suite(spec.tasks[0]) if alone else None,
            methods=definitions.defined(record.method.name for record, _ in stored),
        )

    def compare(
        self,
        baseline: str,
        others: Sequence[str] | str,
        *,
        on: Sequence[str] | str | None = None,
        measure: str | None = None,
    ) -> list[Comparison]:
        """Compare `baseline` with each of `others`, query by query, on every task that has both.

        Args:
            baseline, others: methods of stored records, in full or by their last parts.
            on: only these tasks.
            measure: instead of each task's headline.

        Raises: RankstoneError, where a name has no record, or records cannot be compared.
        """
        from rankstone.leaderboards.compare import compare
        from rankstone.results.store import recorded_name

        store = self.store
        cells = {cell: one for cell, one in store.cells().items() if one[0].status == "ok"}
        methods = list(dict.fromkeys(method for method, _ in cells))
        tasks = list(dict.fromkeys(task for _, task in cells))
        if on is not None:
            kept = {recorded_name(name, tasks, "task", store.folder) for name in several(on)}
            cells = {cell: one for cell, one in cells.items() if cell[1] in kept}
        named = [
            recorded_name(name, methods, "method", store.folder)
            for name in (baseline, *several(others))
        ]
        return compare(named[0], named[1:], cells, measure=measure)

    def gate(
        self,
        baseline: str,
        candidate: str,
        *,
        rules: PathLike | GateRules | None = None,
        on: Sequence[str] | str | None = None,
    ) -> list[Judgement]:
        """Judge by stored records whether `candidate` may replace `baseline`.

        Args:
            baseline, candidate: folders of records, whose cells are compared by method and task; or
                methods of `results`, compared by task.
            rules: a file, or the rules; by default a headline may drop .005, and .02 at most.
            on: only these tasks, by full name.

        Raises: RankstoneError, where a side or a rule is absent.
        """
        from rankstone.leaderboards.gate import judge

        store = self.store
        sides = [store.side(name, label=candidate) for name in (baseline, candidate)]
        if on is not None:
            kept = set(several(on))
            sides = [{cell: s for cell, s in side.items() if cell[1] in kept} for side in sides]
            for task in sorted(kept - {task for side in sides for _, task in side}):
                raise ResultsError(f"neither side has a record of '{task}'. Correct --on.")
        return judge(sides[0], sides[1], _rules(rules))

    def gate_ab(
        self,
        versions: tuple[str, str],
        methods: Sequence[str] | str,
        tasks: Sequence[str] | str,
        *,
        rounds: int,
        rules: PathLike | GateRules | None = None,
        report: Callable[[str], None] = lambda what: None,
    ) -> list[Judgement]:
        """Judge whether the second of two versions is more expensive, measured in turns here.

        Args:
            versions: checkouts, or commits of the repository around the workspace.
            rules: its rules of cost; by default a median latency of 1.1 times passes.
            report: receives a line before each run.

        Raises: RankstoneError, where a version or a cell does not run.
        """
        from rankstone.execution.ab_comparison import measure_cells
        from rankstone.leaderboards.gate import CostRule, GateRules, judge_ratio

        if not methods or not tasks:
            raise DefinitionError("--ab needs what to run. Name it: --method METHOD --on TASK")
        stated = _rules(rules) if rules is not None else GateRules(quality=())
        bounds = stated.cost or (CostRule(figure="median latency", allowance=1.1),)
        given = (("--data", self.data), ("--cache", self.cache))
        measured = measure_cells(
            versions,
            several(methods),
            several(tasks),
            repository=self.definitions.root,
            rounds=rounds,
            arguments=tuple(str(part) for pair in given if pair[1] for part in pair),
            report=report,
        )
        return [judge_ratio(rule, *pair) for pair in measured for rule in bounds]

    def claims(
        self, names: Sequence[str] = (), *, missing: Missing = "run"
    ) -> tuple[list[Result], Found]:
        """Test the claims `names`, or all, on the runs that they need.

        Args:
            missing: `run` measures what is not stored with today's definitions, code and data;
                `skip` takes what is stored, and reports the rest as not measured.

        Returns: the result of each claim, and the records by method and task.

        Raises: RankstoneError, before anything runs, where a name or a definition is wrong.
        """
        from rankstone.leaderboards.papers.claims import chosen_claims, evaluate_claim, load_claims

        definitions = self.definitions
        chosen = chosen_claims(load_claims(definitions.claims), names)
        # Files scored before (`rankstone score`) have no definition; they can only be looked up.
        cells = {(m, t) for claim in chosen for m, t in claim.cells() if not m.startswith("runs/")}
        for method, task in cells:
            definitions.method(method)
            definitions.task(task)
        records = self._measured(cells, missing)
        return [evaluate_claim(claim, records) for claim in chosen], records

    def reproduce(
        self, tables: Sequence[str] = (), *, missing: Missing = "skip"
    ) -> list[Reproduction]:
        """Compare the published `tables`, or all, with what was measured.

        Args:
            missing: as in `claims`.

        Returns: each table with all its cells: within, above, below, or not run and why.

        Raises: RankstoneError, before anything runs, where a name or a definition is wrong.
        """
        from rankstone.benchmarks.availability import at_hand
        from rankstone.leaderboards.papers import tables as papers

        definitions, sources = self.definitions, self.sources
        chosen = papers.chosen_papers(papers.load_papers(definitions.papers), tables)
        known = papers.Known.of(
            definitions.methods(definitions.method_names()),
            definitions.tasks,
            definitions.suites,
            {name for paper in chosen for name in paper.tasks},
            lambda task: at_hand(task, sources),
        )
        for paper in chosen:
            papers.refuse_unknown_tasks(paper, known)
        records = self._measured({c for p in chosen for c in papers.needed(p, known)}, missing)
        return [papers.reproduce_table(paper, records, known) for paper in chosen]

    def report(
        self,
        methods: Sequence[str] | None = None,
        on: Sequence[str] | None = None,
        *,
        baseline: str | None = None,
        title: str = "Retrieval report",
    ) -> Page:
        """Return one page about the stored records of `methods` on the tasks `on`, or all.

        Raises: RankstoneError, where a name has no record, or records cannot be compared.
        """
        from rankstone.leaderboards.pages.report import report
        from rankstone.results.store import recorded_name

        store = self.store
        stored = store.stored()
        known = list(dict.fromkeys(record.method.name for record, _ in stored))
        tasks = list(dict.fromkeys(record.task.name for record, _ in stored))
        wanted = {recorded_name(name, known, "method", store.folder) for name in methods or known}
        if baseline is not None:
            baseline = recorded_name(baseline, known, "method", store.folder)
            wanted.add(baseline)
        kept = {recorded_name(name, tasks, "task", store.folder) for name in on or tasks}
        chosen = [s for s in stored if s[0].method.name in wanted and s[0].task.name in kept]
        return report(chosen, baseline=baseline, title=title)

    def site(self, output: PathLike, *, pairs: int = 5) -> Built:
        """Write the stored records as one folder of static pages; an older site is replaced.

        Texts of queries and documents are looked up where their data is; nothing is fetched.

        Args:
            output: the folder.
            pairs: best methods of a data set of which every two have a page.

        Raises: RankstoneError, where a record cannot be read, `output` holds something else than a
            site, or what draws plots is not installed.
        """
        from rankstone.leaderboards.site.build import build, known_means
        from rankstone.leaderboards.site.model import Texts, make_site
        from rankstone.scoring.text_lookup import look_up

        definitions, sources = self.definitions, self.sources
        store = self._store(definitions)
        if not store.folder.is_dir():
            raise _no_folder(store.folder)
        stored = store.stored()

        def look(
            record: RunRecord, queries: Collection[str], documents: Collection[str]
        ) -> Texts | str:
            task = functools.partial(_task_of, record, definitions)
            found = look_up(task, record, queries, documents, sources)
            return found if isinstance(found, str) else Texts(*found)

        records = [record for record, _ in stored]
        made = make_site(stored, definitions.defined(r.method.name for r in records), look)
        suites = [definitions.suite(name) for name in definitions.suites]
        return build(made, Path(output).resolve(), means=known_means(records, suites), best=pairs)

    def tasks(self, names: Sequence[str] = ()) -> list[TaskSpec]:
        """Return the tasks and suites' tasks `names`, or all that are defined."""
        definitions = self.definitions
        return definitions.named(names) if names else list(definitions.tasks.values())

    def availability(self, names: Sequence[str] = ()) -> list[Entry]:
        """Return the state of the data of the tasks `names`, or of all."""
        from rankstone.benchmarks.availability import entry

        sources = self.sources
        return [entry(task, sources) for task in self.tasks(names)]

    def prepare(self, task: str | TaskSpec, progress: Progress = silent) -> Dataset:
        """Fetch and convert the data of a task, unless a run finds it ready, and open it."""
        from rankstone.benchmarks.store import open_dataset

        [spec] = self.definitions.named([task])
        return open_dataset(spec, self.sources, progress)

    def prepared(self, task: str | TaskSpec) -> Copy:
        """Return the state of the converted copy of a task's data."""
        from rankstone.benchmarks.prepared import find_copy

        [spec] = self.definitions.named([task])
        return find_copy(spec, self.sources)

    def verify_data(self, task: TaskSpec) -> dict[str, str]:
        """Compare the prepared data of a task with its pins, and return the digests.

        Raises: DataError, where the data differs or is not prepared.
        """
        from rankstone.benchmarks.prepared import verify_copy

        copy = self.prepared(task)
        copy.refuse_absence(task.name)
        return verify_copy(copy, task, self.sources)

    def data_path(self, name: str) -> Path:
        """Return the folder of the prepared copy of a task; DataError where it is not whole."""
        from rankstone.benchmarks.prepared import check_whole

        copy = self.prepared(self.definitions.task(name))
        copy.refuse_absence(name)
        check_whole(copy)
        return copy.folder

    def statistics(self, name: str, progress: Progress = silent) -> Statistics:
        """Return lengths, labels, duplicates and self hits of a task."""
        dataset = self.prepare(self.definitions.task(name), progress)
        from rankstone.benchmarks.stats import statistics

        return statistics(dataset)

    def encodings(self, names: Sequence[str] = ()) -> list[Encoding]:
        """Return the encodings in the cache: keys, or those of methods, or all.

        Raises: DataError, where the named cache is absent, or a name is of no encoding.
        """
        from rankstone.encodings.inventory import entries, named

        if self.cache is not None and not self.sources.cache.is_dir():
            raise DataError(f"{self.cache}: no folder is there. Name that of the cache: --cache")
        present = entries(self.encodings_folder)
        return named(present, names) if names else present

    def published(self, method: str | None = None) -> list[Published]:
        """Return the values that others published, of one method or all.

        Raises: DefinitionError, where the method is not defined, or has no such values.
        """
        from rankstone.leaderboards.papers.published import published_of, read_published

        definitions = self.definitions
        rows = read_published(definitions.published)
        if method is None:
            return rows
        spec = definitions.method(method)
        found = published_of(spec, rows)
        if not found:
            raise DefinitionError(
                f"Runner '{spec.name}' has no published values in {definitions.published}."
                " (rankstone list published)"
            )
        return found

    def convert(self, checkpoint: PathLike, like: PathLike, to: PathLike) -> list[Path]:
        """Write the two encoders of a checkpoint in the form of DPR or AR2 into folders of `to`.

        Args:
            like: folder of the encoder that the checkpoint was trained from.
        """
        from rankstone.runners.transformer.dpr_checkpoint import convert

        return list(convert(Path(checkpoint), Path(like), Path(to)))

    def doctor(self) -> RenderableType:
        """Return a report of what is installed and available, for a terminal."""
        from rankstone.doctor import report

        return report(self.definitions, self.sources)

    @property
    def _reporter(self) -> Reporter:
        from rankstone.execution.sweep import Silent

        return self.reporter or Silent()

    def _store(self, definitions: Workspace) -> ResultStore:
        from rankstone.results.store import ResultStore

        return ResultStore(Path(self.results) if self.results is not None else definitions.results)

    def _present_store(self) -> ResultStore:
        """The folder of the records; ResultsError where it was named and is absent."""
        if self.results is not None and not Path(self.results).is_dir():
            raise _no_folder(self.results)
        return self.store

    def _records(self) -> list[RunRecord]:
        return self._present_store().records()

    def _judged(self, record: RunRecord) -> Judged:
        """The judgements of the record's task, as the task is defined today."""
        from rankstone.scoring.task_qrels import open_judged

        return open_judged(_task_of(record, self.definitions), self.sources)

    def _measured(self, cells: set[Cell], missing: Missing) -> Found:
        """All that is stored, after `cells` were run or reused where `missing` is `run`."""
        from rankstone.execution.sweep import run_cells

        if missing == "run":
            run_cells(cells, self.sweep, self._reporter)
        return self.store.cells()


def as_function(verb: Callable[..., T]) -> Callable[..., T]:
    """Return the method `verb` of a default session as a function.

    The fields of `Session` may be given to it as keywords too.
    """
    folders = {field.name for field in fields(Session)}

    @functools.wraps(verb)
    def function(*args: Any, **options: Any) -> T:
        session = Session(**{name: options.pop(name) for name in folders & options.keys()})
        return verb(session, *args, **options)

    return function


def _located(methods: Iterable[MethodSpec], path: PathLike | None) -> tuple[MethodSpec, ...]:
    """`methods`, with the weights of the one method in `path`, if given."""
    chosen = tuple(methods)
    if path is None:
        return chosen
    if len(chosen) != 1:
        raise DefinitionError("--model-path is for one method at a time. Name one.")
    return (chosen[0].at(Path(path).resolve()),)


def _rules(rules: PathLike | GateRules | None) -> GateRules:
    from rankstone.leaderboards.gate import GateRules, load_rules

    if rules is None:
        return GateRules()
    return rules if isinstance(rules, GateRules) else load_rules(Path(rules))


def _task_of(record: RunRecord, definitions: Workspace) -> TaskSpec:
    task = record.task
    return definitions.recorded_task(
        task.name, task.source or "", task.split, relevance=record.policy.relevance
    )


def _no_folder(folder: PathLike) -> ResultsError:
    return ResultsError(f"{folder}: no folder is there. Name that of the records: --results")
