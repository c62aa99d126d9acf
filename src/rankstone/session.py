"""The Python API: a `Session` knows the folders, and every command is a method of it."""

from __future__ import annotations

import contextlib
import functools
import statistics
import sys
import tempfile
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, Unpack, cast

from rankstone.errors import DefinitionError, MeasureError, RankstoneWarning
from rankstone.files import PathLike
from rankstone.specs import TaskSpec
from rankstone.strict import chosen
from rankstone.views import Views, no_folder
from rankstone.workspace import NONE, Methods, Tasks, Workspace, several
from rankstone.workspace import Changes as Changes

if TYPE_CHECKING:
    import pandas as pd

    from rankstone.evaluation.conventions.comparison import Comparison as RulesComparison
    from rankstone.execution.reporting import Reporter
    from rankstone.execution.sweep import Machines, Sweep
    from rankstone.leaderboards.gate import Judgement
    from rankstone.leaderboards.gate_rules import GateRules
    from rankstone.leaderboards.papers.claims import Result
    from rankstone.leaderboards.papers.tables import Reproduction
    from rankstone.leaderboards.shown import ShownExplanation, ShownList
    from rankstone.leaderboards.site.build import Built
    from rankstone.leaderboards.site.model import Texts
    from rankstone.results.record import Planned, RunRecord
    from rankstone.results.selection import Filters
    from rankstone.results.store import Cell, Found
    from rankstone.scoring.explained import Case
    from rankstone.scoring.task_qrels import Judged

P = ParamSpec("P")
Missing = Literal["run", "skip"]


def _completed(
    plan: Callable[Concatenate[Session, P], Sweep],
) -> Callable[Concatenate[Session, P], ShownList[RunRecord]]:
    """The method that runs what `plan` returns, with the parameters of `plan`."""

    def run(self: Session, /, *args: P.args, **options: P.kwargs) -> ShownList[RunRecord]:
        """Run every method on every task, each cell in a fresh process, and store its record.

        The arguments are those of `sweep`.

        Returns: one record per cell, task by task; look at ``record.status``.

        Raises: RankstoneError, before anything runs, where a name or a definition is wrong.
        """
        from rankstone.leaderboards.pages.leaderboard import page
        from rankstone.leaderboards.shown import ShownList

        records = list(plan(self, *args, **options).run(self._reporter))
        more = cast("Sequence[str] | str", options.get("measures", ()))
        return ShownList(self.with_measures(records, more), page, "record")

    return functools.wraps(plan, assigned=(), updated=())(run)


def _forecast(
    sweep: Callable[Concatenate[Session, P], Sweep],
) -> Callable[Concatenate[Session, P], ShownList[Planned]]:
    """The method that forecasts what `sweep` returns, with the parameters of `sweep`."""

    def plan(self: Session, /, *args: P.args, **options: P.kwargs) -> ShownList[Planned]:
        """Return a forecast of every cell: time, memory, index, disk, price; nothing is run but
        samples of them, and no paid API is asked.

        The arguments are those of `sweep`.

        Raises: RankstoneError, before anything is sampled, where a name or a definition is wrong.
        """
        from rankstone.execution.forecasts.plan import planned
        from rankstone.leaderboards.forecasts.plan_page import page
        from rankstone.leaderboards.shown import ShownList

        cells = list(planned(sweep(self, *args, **options), self._reporter))
        return ShownList(cells, page, "cell")

    return functools.wraps(sweep, assigned=(), updated=())(plan)


def _cluster(address: str | bool, device: str) -> Machines:
    """Return the nodes of a Ray cluster; MissingExtraError where Ray is not installed."""
    from rankstone.execution.cluster.connection import refuse_missing
    from rankstone.execution.cluster.machines import Cluster

    refuse_missing()
    return Cluster(address=address if isinstance(address, str) else "", device=device)


@dataclass(frozen=True, kw_only=True)
class Session(Views):
    """Folders that commands read and write; definitions and records are read again by each call."""

    command: tuple[str, ...] = ()
    """Command line, stored in the records that are written."""
    reporter: Reporter | None = None
    """Receives the progress of runs."""

    def sweep(
        self,
        methods: Methods,
        tasks: Tasks,
        *,
        k: int | None = None,
        limit_queries: int | None = None,
        timeout_s: float | None = None,
        memory_limit_bytes: int | None = None,
        seed: int = 0,
        device: str = "auto",
        force: bool = False,
        model_path: PathLike | None = None,
        budget_tokens: int | None = None,
        budget_usd: float | None = None,
        changes: Changes = NONE,
        measures: Sequence[str] | str = (),
        task_name: str | None = None,
        ray: str | bool | None = None,
    ) -> Sweep:
        """Return the cells that `run` with the same arguments runs, not yet run.

        Args:
            methods: names (`rankstone list runners`), specs, or Python objects: runners (see
                `rankstone.Runner`), and functions `search(queries, k)` that return a score by
                document id for each query. A single one needs no list, nor does a task.
            tasks: names of tasks and suites (`rankstone list benchmarks`), or specs.
            k: depth of the runs, instead of the tasks' own.
            limit_queries: number of judged queries to use, the first ones.
            timeout_s, memory_limit_bytes: limits of a cell; a cell that exceeds one fails.
            seed: of everything random.
            device: `cpu`, `cuda`, `cuda:N` or `mps`, for methods that state none; `auto`: as
                RANKSTONE_DEVICE states, else the best there is.
            force: measure again where results with matching digests are stored.
            model_path: folder with the weights of the one method, instead of its definition's.
            budget_tokens, budget_usd: what requests to APIs may cost; a cell that would exceed
                them fails before it does, and its finished shards are kept.
            changes: parameters by hand, a label, candidates of cross-encoders.
            measures: beside the task's; `run` adds them to the stored records (`with_measures`).
            task_name: own name, for records, of the one task, which has no definition.
            ray: address of the Ray cluster whose nodes encode and measure; True: the one of this
                machine or of RAY_ADDRESS, or else a new one here.

        Raises: RankstoneError, where a name or a definition is wrong.
        """
        from rankstone.evaluation.evaluate import parse_all
        from rankstone.execution.process import Limits
        from rankstone.execution.sweep import Here, Limit, Purse, Sweep

        definitions = self.definitions
        given = self._tasks_under(definitions, tasks, task_name)
        named = [task.limited(queries=limit_queries, depth=k) for task in given]
        for task in named:
            parse_all(several(measures), task.depth, task.judge)
        return Sweep(
            methods=tuple(definitions.methods(methods, weights=model_path, changes=changes)),
            tasks=tuple(named),
            sources=self.sources,
            store=self._store(definitions),
            workspace=definitions.root,
            limits=Limits(timeout_s=timeout_s, memory_bytes=memory_limit_bytes),
            seed=seed,
            device=device,
            force=force,
            purse=Purse(Limit(budget_tokens, budget_usd)),
            command=self.command,
            machines=_cluster(ray, device) if ray else Here(),
        )

    run = _completed(sweep)
    plan = _forecast(sweep)

    def load(
        self,
        methods: Methods,
        tasks: Tasks,
        *,
        rates: Sequence[float] | float = (),
        p99_ms: float | None = None,
        clients: Sequence[int] | int = (),
        duration_s: float = 10.0,
        arrivals: Literal["poisson", "constant"] = "poisson",
        workers: int = 1,
        queue: int | None = None,
        request_timeout_s: float = 10.0,
        updates: float | None = None,
        **cells: Any,
    ) -> ShownList[RunRecord]:
        """Measure latency and throughput under load; the records have the section `profile.load`.

        Args:
            rates: requests per second of an open loop, one trial each.
            p99_ms: bound within which the highest rate is searched for.
            clients: numbers of clients of a closed loop, one trial each.
            duration_s: time in which requests arrive, in each trial.
            arrivals: a Poisson process, or constant intervals.
            workers: threads that serve the open loop.
            queue: most requests that wait; those that arrive beyond are dropped.
            request_timeout_s: time limit of a request, from its arrival.
            updates: insertions and deletions per second, while searches arrive at the first rate.
            cells: other arguments of `sweep`.

        Returns: one record per cell, task by task.

        Raises: RankstoneError, before anything runs, where an argument or a definition is wrong.
        """
        from pydantic import ValidationError

        from rankstone.leaderboards.loads.page import page
        from rankstone.leaderboards.shown import ShownList
        from rankstone.results.record import LoadPlan

        try:
            plan = LoadPlan(
                rates=(rates,) if isinstance(rates, (int, float)) else tuple(rates),
                p99_ms=p99_ms,
                clients=(clients,) if isinstance(clients, int) else tuple(clients),
                duration_s=duration_s,
                arrivals=arrivals,
                workers=workers,
                queue=queue,
                request_timeout_s=request_timeout_s,
                updates=updates,
            )
        except ValidationError as error:
            faults = [
                (*map(str, fault["loc"]), fault["msg"].removeprefix("Value error, "))
                for fault in error.errors()
            ]
            text = "; ".join(map(": ".join, faults))
            raise DefinitionError(f"{text}. (rankstone load --help)") from None
        swept = replace(self.sweep(methods, tasks, **cells), load=plan)
        more = cells.get("measures", ())
        records = self.with_measures(list(swept.run(self._reporter)), more)
        return ShownList(records, page, "record")

    def with_measures(
        self, records: Sequence[RunRecord], measures: Sequence[str] | str
    ) -> list[RunRecord]:
        """Return stored records with `measures`, computed from their runs and stored where absent.

        Runs that some measure is too deep for stay without, with a warning, unless none is left.

        Raises: RankstoneError, where a measure is unknown or deeper than all runs, or data changed.
        """
        from rankstone.scoring.later_measures import with_measures

        store, names = self.store, several(measures)
        found: dict[int, RunRecord] = {}
        faults: list[tuple[RunRecord, MeasureError]] = []
        for n, record in enumerate(records):
            try:
                found[n] = with_measures(record, names, store, self._judged)
            except MeasureError as error:
                faults.append((record, error))
        if faults and not found:
            raise faults[0][1]
        for record, fault in faults:
            warnings.warn(
                f"{record.method.name} on {record.task.name}: {fault}",
                RankstoneWarning,
                stacklevel=2,
            )
        return [found.get(n, record) for n, record in enumerate(records)]

    def score(
        self,
        run: PathLike | Mapping[str, Mapping[str, float]] | pd.DataFrame,
        on: str | TaskSpec | None = None,
        *,
        qrels: PathLike | Mapping[str, Mapping[str, int]] | pd.DataFrame | None = None,
        relevance: int = 1,
        name: str | None = None,
        task_name: str | None = None,
    ) -> RunRecord:
        """Score a TREC run file of any other tool, and store its record beside those of runners.

        Args:
            run: the file, plain or compressed; or {query: {document: score}}, or a data frame with
                the columns query, document and score (or those of ir_measures or PyTerrier).
            on: the task; or else
            qrels: a file of judgements, in TREC or BEIR form, or the same in memory with a column
                label, under which a label of at least `relevance` is relevant. What is given in
                memory is kept in the cache, so that the record can be verified.
            name: of the method in the record; `runs/<file name>` by default.
            task_name: own name, for the record, of a task without a definition.

        Returns: the record as stored; its ``warnings`` state what is odd about the file.

        Raises: RankstoneError, where the file, the task or its data is wrong.
        """
        from rankstone.benchmarks.task_names import file_task
        from rankstone.scoring.in_memory import is_in_memory, write_file
        from rankstone.scoring.score_file import score_file
        from rankstone.scoring.task_qrels import open_judged

        if is_in_memory(run):
            with tempfile.TemporaryDirectory(prefix="rankstone-run-") as folder:
                file = write_file(run, "run", Path(folder))
                return self.score(
                    file, on, qrels=qrels, relevance=relevance, name=name, task_name=task_name
                )
        if is_in_memory(qrels):
            qrels = write_file(qrels, "qrels", self.sources.cache / "judgements")
        definitions = self.definitions
        if on is not None and qrels is None:
            task = definitions.one_task(self._made_again(on))
        elif qrels is not None and on is None:
            task = file_task(Path(cast("PathLike", qrels)), relevance=relevance)
        else:
            raise DefinitionError(
                "Name either a task (--on TASK) or a file of judgements (--qrels)."
            )
        [task] = self._tasks_under(definitions, task, task_name)
        return score_file(
            Path(cast("PathLike", run)),
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

    def verify(self, record: RunRecord, path: PathLike) -> list[str]:
        """Return where the record stored at `path` differs from what it was made of.

        Means, values per query and latencies must agree to 1e-9, intervals to 1e-6, the record, its
        files and its data by their sha256, task and policy with today's definition.
        """
        from rankstone.scoring.verification import differences

        return list(differences(record, Path(path), self._judged))

    def remove_records(
        self, names: Sequence[str] | str = (), *, failed: bool = False
    ) -> list[Path]:
        """Delete stored records with the files beside them, and return their files.

        Args:
            names: methods, METHOD@TASK, or files, which need not hold a valid record; every record
                by default.
            failed: only failures.

        Raises: ResultsError, before anything is deleted, where a name has no record.
        """
        from rankstone.results.removal import chosen_files

        store = self._present_store()
        paths = chosen_files(store, self._recorded(names), failed=failed)
        for path in paths:
            store.remove(path)
        return paths

    def label_records(self, names: Sequence[str] | str, label: str | None) -> list[Path]:
        """Give stored records a label that boards show for their method, or none, and return their
        files. It is no part of a record's digest, and nothing but boards reads it.

        Args:
            names: methods, METHOD@TASK, or files.

        Raises: ResultsError, before anything is written, where a name has no record.
        """
        from rankstone.results.removal import chosen_files

        store = self._present_store()
        paths = chosen_files(store, self._recorded(names))
        for path in paths:
            store.load(path)
        for path in paths:
            store.label(path, label)
        return paths

    def compare_rules(self, record: RunRecord, path: PathLike, tool: str) -> list[RulesComparison]:
        """Evaluate the run of the record stored at `path` by its own rules and by those of `tool`.

        `tool` is a key of `rankstone.evaluation.conventions.tools.TOOLS`.

        Raises: RankstoneError, where the record has no run, is judged by answers, or its task's
            data cannot be opened.
        """
        from rankstone.leaderboards.frame import measure_order
        from rankstone.scoring.verification import compare_rules

        measures = measure_order([record])
        return compare_rules(record, Path(path), tool, measures=measures, judged=self._judged)

    def explain(
        self,
        record: str | RunRecord,
        published: str | float,
        *,
        measure: str | None = None,
        qrels: Sequence[PathLike] | PathLike = (),
        encodings: bool = False,
        rerun: bool = False,
        queries: int | None = None,
    ) -> ShownExplanation:
        """Search for what makes a stored number differ from a published one, among known causes.

        Args:
            record: METHOD@TASK, the file of a record, or a record as `run` returns it.
            published: a number, as text for its last zeros; or a table of `leaderboards/papers`
                (or a part of its name), or `TABLE:ROW`.
            measure: instead of the task's headline.
            qrels: files of other judgements to try.
            encodings: try changes of the stored vectors of documents; queries are encoded.
            rerun: run the method without prompts, without titles, at other lengths and so on, with
                encodings in the cache and records thrown away.
            queries: of `rerun`: only so many, from which means are estimated.

        Raises: RankstoneError, where a name, the measure or the value is not found, or the record
            has no run.
        """
        from rankstone.benchmarks.task_names import file_task
        from rankstone.leaderboards.papers.quoted import of_table, stated
        from rankstone.leaderboards.papers.tables import PaperSpec
        from rankstone.leaderboards.shown import ShownExplanation
        from rankstone.scoring.explained import Case, add_related

        [(found, path)] = self.records([record])
        wanted = measure or found.task.headline
        value, definitions = stated(published), self.definitions
        if value is None:
            papers = definitions.load(PaperSpec, "leaderboards/papers").values()
            value = of_table(str(published), papers, found, wanted)
        case = Case.of(found, path, self._judged(found), wanted)
        others = [*definitions.tasks.values(), *map(file_task, map(Path, several(qrels)))]
        add_related(case, self.task_of(found), others, self.sources, self.store.cells())
        if encodings or rerun:
            form = self._form(found, record if isinstance(record, str) else "")
            self._add_runs(case, form, encodings=encodings, rerun=rerun, queries=queries)
        return ShownExplanation(**vars(case.explained(wanted, value)))

    def _add_runs(
        self, case: Case, form: str, *, encodings: bool, rerun: bool, queries: int | None
    ) -> None:
        """Add runs over changed vectors, and with changed settings."""
        from rankstone.benchmarks.store import open_dataset
        from rankstone.evaluation.evaluate import evaluate
        from rankstone.results.store import ResultStore
        from rankstone.scoring.reencoding import untried
        from rankstone.scoring.task_qrels import open_judged

        task = self.task_of(case.record)
        if encodings:
            [method], dataset = self.definitions.methods(form), open_dataset(task, self.sources)
            for name, hits in self.changed_vectors(method.on_task(task.name), dataset):
                case.add_ranking(name, evaluate(hits, dataset, measures=[]).ranking, dataset)
        if not rerun:
            return
        part = task.limited(queries=queries)
        sampled = None if queries is None else list(open_judged(part, self.sources).qrels)
        wanted = {one.cause: one.settings for one in untried(case.record) if one.settings}
        with tempfile.TemporaryDirectory(prefix="rankstone-explain-") as folder:
            store = ResultStore(Path(folder))
            for name, settings in wanted.items():
                swept = self.sweep(form, part, changes=Changes(settings=settings))
                for made in replace(swept, store=store).run(self._reporter):
                    if made.files.run is None:
                        warnings.warn(f"{name}: {made.failure()}", RankstoneWarning, stacklevel=3)
                        continue
                    file = store.path(made).with_name(made.files.run)
                    case.add_run(name, case.judged.read(file), sampled)

    def _form(self, record: RunRecord, given: str) -> str:
        """Return the name by which the method of a record is run, if it is still the same."""
        definitions, name = self.definitions, record.method.name
        form = name if name in definitions.method_names() else given.rpartition("@")[0] or given
        with contextlib.suppress(DefinitionError):
            spec = definitions.methods(form)[0].on_task(record.task.name)
            if spec.digest() == record.method.digest:
                return form
        raise DefinitionError(
            f"{name}: its definition is absent, or not what the record was made with, so that it"
            " cannot be run. Name it as it was run, METHOD@TASK; a run of another tool has none."
        )

    def gate_ab(
        self,
        versions: tuple[str, str],
        methods: Sequence[str] | str,
        tasks: Sequence[str] | str,
        *,
        rounds: int,
        rules: PathLike | GateRules | None = None,
        report: Callable[[str], None] = lambda what: None,
    ) -> ShownList[Judgement]:
        """Judge whether the second of two versions is more expensive, measured in turns here.

        Args:
            versions: checkouts, or commits of the repository around the workspace.
            rounds: bound on the rounds of each cell, which end as soon as they decide.
            rules: its rules of cost; by default a median latency of 1.1 times passes.
            report: receives a line before each run.

        Raises: RankstoneError, where a version or a cell does not run.
        """
        from rankstone.execution.ab_comparison import Rounds, looks, measure_cells
        from rankstone.leaderboards.gate import judge_ratio
        from rankstone.leaderboards.gate_rules import AB_LEVEL, ab_rules
        from rankstone.leaderboards.pages.gate import page
        from rankstone.leaderboards.shown import ShownList

        if not methods or not tasks:
            raise DefinitionError("--ab needs what to run. Name it: --method METHOD --on TASK")
        bounds, level = ab_rules(rules), AB_LEVEL / len(looks(rounds))

        def judged(found: Rounds) -> list[Judgement]:
            load = statistics.median(found.load)
            sides = found.baseline, found.candidate
            return [judge_ratio(rule, *sides, level=level, load=load) for rule in bounds]

        given = (("--data", self.data), ("--cache", self.cache))
        measured = measure_cells(
            versions,
            several(methods),
            self.definitions.single_names(tasks),
            repository=self.definitions.root,
            rounds=rounds,
            decided=lambda found: all(one.verdict != "not shown" for one in judged(found)),
            arguments=tuple(str(part) for pair in given if pair[1] for part in pair),
            report=report,
        )
        every = (judgement for found in measured for judgement in judged(found))
        return ShownList(every, page, "judgement")

    def claims(
        self, names: Sequence[str] | str = (), *, missing: Missing = "run"
    ) -> tuple[ShownList[Result], Found]:
        """Test the claims `names`, or all, on the runs that they need.

        Args:
            missing: `run` measures what is not stored with today's definitions, code and data;
                `skip` takes what is stored, and reports the rest as not measured.

        Returns: the result of each claim, and the records by method and task.

        Raises: RankstoneError, before anything runs, where a name or a definition is wrong.
        """
        from rankstone.leaderboards.pages.claims import page
        from rankstone.leaderboards.papers.claims import ClaimSpec, evaluate_claim
        from rankstone.leaderboards.shown import ShownList

        definitions = self.definitions
        wanted = chosen(definitions.load(ClaimSpec, "leaderboards/claims"), several(names), "Claim")
        # Files scored before (`rankstone score`) have no definition; they can only be looked up.
        cells = {(m, t) for claim in wanted for m, t in claim.cells() if not m.startswith("runs/")}
        for method, task in cells:
            definitions.method(method)
            definitions.task(task)
        records = self._measured(cells, missing)
        found = [evaluate_claim(claim, records, self._relevant) for claim in wanted]
        return ShownList(found, functools.partial(page, records=records), "claim"), records

    def reproduce(
        self, tables: Sequence[str] | str = (), *, missing: Missing = "skip"
    ) -> ShownList[Reproduction]:
        """Compare the published `tables`, or all, with what was measured.

        Args:
            missing: as in `claims`.

        Returns: each table with all its cells: within, above, below, or not run and why.

        Raises: RankstoneError, before anything runs, where a name or a definition is wrong.
        """
        from rankstone.benchmarks.availability import at_hand
        from rankstone.leaderboards.pages.papers import page
        from rankstone.leaderboards.papers import tables as papers
        from rankstone.leaderboards.shown import ShownList

        definitions, sources = self.definitions, self.sources
        every = definitions.load(papers.PaperSpec, "leaderboards/papers")
        wanted = chosen(every, several(tables), "Table")
        known = papers.Known.of(
            definitions.methods(definitions.method_names()),
            definitions.tasks,
            definitions.suites,
            {name for paper in wanted for name in paper.tasks},
            lambda task: at_hand(task, sources),
        )
        for paper in wanted:
            papers.refuse_unknown_tasks(paper, known)
        records = self._measured({c for p in wanted for c in papers.needed(p, known)}, missing)
        found = [papers.reproduce_table(paper, records, known) for paper in wanted]
        return ShownList(found, functools.partial(page, every=bool(tables)), "published table")

    def site(
        self,
        output: PathLike,
        *,
        pairs: int = 5,
        history: PathLike | Sequence[PathLike] = (),
        **filters: Unpack[Filters],
    ) -> Built:
        """Write the stored records as one folder of static pages; an older site is replaced.

        Texts of queries and documents are looked up where their data is; nothing is fetched.

        Args:
            output: the folder.
            pairs: best methods of a data set of which every two have a page.
            history: folders of results, or of such folders, with records of other commits: pages
                of trends show the figures of each method over all records.

        Raises: RankstoneError, where a record cannot be read, `output` holds something else than a
            site, or what draws plots is not installed.
        """
        from rankstone.leaderboards.site.build import build
        from rankstone.leaderboards.site.model import Texts, make_site
        from rankstone.results.histories import refuse_several_stores, stored_below
        from rankstone.scoring.text_lookup import look_up

        definitions, sources = self.definitions, self.sources
        store = self._store(definitions)
        if not store.folder.is_dir():
            raise no_folder(store.folder)
        stored = self._selection(**filters).of(store.stored(), store.folder)
        if not stored:
            refuse_several_stores(store.folder)

        def look(
            record: RunRecord, queries: Collection[str], documents: Collection[str]
        ) -> Texts | str:
            find_task = functools.partial(self.task_of, record)
            found = look_up(find_task, record, queries, documents, sources)
            return found if isinstance(found, str) else Texts(*found)

        names = {record.method.name for record, _ in stored}
        bases = {name.partition("+")[0] for name in names}  # of parameters set by hand
        made = make_site(stored, definitions.defined(names | bases), look)
        suites = [definitions.suite(name) for name in definitions.suites]
        return build(
            made, Path(output).resolve(), suites=suites, best=pairs, history=stored_below(history)
        )

    def _tasks_under(
        self, definitions: Workspace, tasks: Tasks, name: str | None
    ) -> list[TaskSpec]:
        """Return the tasks, or the one of them under the user's own `name`."""
        named = definitions.named([self._made_again(task) for task in several(tasks)])
        if name is None:
            return named
        from rankstone.benchmarks.task_names import named_by_user
        from rankstone.results.own_names import refuse_other_content

        if len(named) != 1:
            raise DefinitionError("--as is for one task at a time. Name one.")
        task = named_by_user(named[0], name)
        refuse_other_content(self._store(definitions), task)
        return [task]

    def _made_again(self, task: str | TaskSpec) -> str | TaskSpec:
        """Return the task of a record, where `task` is its name and no file defines it."""
        from rankstone.benchmarks.task_names import UNDEFINED

        if not (isinstance(task, str) and task.startswith(UNDEFINED)) or Path(task).exists():
            return task
        records = (record for record in self.store.records() if record.task.name == task)
        return next(map(self.task_of, records), task)

    @property
    def _reporter(self) -> Reporter:
        from rankstone.execution.reporting import Lines, Silent, in_notebook

        return self.reporter or (Lines(sys.stderr) if in_notebook() else Silent())

    def _relevant(self, record: RunRecord) -> dict[str, list[str]]:
        """Query -> the documents that the record's policy counts as relevant."""
        least = record.policy.relevance
        return {
            query: [document for document, label in labels.items() if label >= least]
            for query, labels in self._judged(record).qrels.items()
        }

    def _judged(self, record: RunRecord) -> Judged:
        """The judgements of the record's task, as the task is defined today."""
        from rankstone.scoring.task_qrels import open_judged

        return open_judged(self.task_of(record), self.sources)

    def _measured(self, cells: set[Cell], missing: Missing) -> Found:
        """All that is stored, after `cells` were run or reused where `missing` is `run`."""
        from rankstone.execution.sweep import run_cells

        if missing == "run":
            run_cells(cells, self.sweep, self._reporter)
        return self.store.cells()
