"""Views of stored records: nothing here runs a method or reads a collection."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from rankstone.catalogue import Catalogue, expanded
from rankstone.errors import MissingExtraError, ResultsError
from rankstone.files import PathLike
from rankstone.workspace import Methods, Tasks, Workspace, names_of, several

if TYPE_CHECKING:
    import pandas as pd
    from altair import LayerChart

    from rankstone.leaderboards.compare import Comparison
    from rankstone.leaderboards.gate import Judgement
    from rankstone.leaderboards.gate_rules import GateRules
    from rankstone.leaderboards.power import Power
    from rankstone.leaderboards.shown import Leaderboard, ShownList, ShownPage
    from rankstone.results.record import RunRecord
    from rankstone.results.selection import Filters, Origin, Selection
    from rankstone.results.store import ResultStore, Stored
    from rankstone.specs import MethodSpec

    Records = Sequence[str | MethodSpec | RunRecord] | str | MethodSpec | RunRecord


@dataclass(frozen=True, kw_only=True)
class Views(Catalogue):
    """The commands of a session that only read records."""

    @property
    def store(self) -> ResultStore:
        """The folder of the records, which may be absent."""
        return self._store(self.definitions)

    def records(self, names: Records = (), **filters: Unpack[Filters]) -> list[Stored]:
        """Return the stored records and their files, those `names` or all, that `filters` keep.

        Args:
            names: files, parts of METHOD@TASK, or records as `run` returns them; one or several.

        Raises: ResultsError, where the named folder of records, a record, or what a filter names is
            absent.
        """
        store = self._present_store()
        found = [self._named(one, store) for one in alone_or_all(names)] or store.stored()
        return self._selection(**filters).of(found, store.folder)

    def _named(self, given: str | MethodSpec | RunRecord, store: ResultStore) -> Stored:
        from rankstone.results.record import RunRecord

        if isinstance(given, RunRecord):
            return given, store.path(given)
        return store.named(self._recorded(given)[0])

    def all_records(
        self,
        names: Sequence[str] | str = (),
        *,
        changed: bool = False,
        **filters: Unpack[Filters],
    ) -> list[Stored | ResultsError]:
        """Return `records`, and for each file that is no record the reason.

        Args:
            changed: return records that changed since they were written, too.

        Raises: ResultsError, as for `records`.
        """
        from rankstone.results.store import ResultStore

        store = ResultStore(self._present_store().folder, changed=changed)
        if names:
            return [store.named(name) for name in self._recorded(names)]
        every = [
            read if isinstance(read, ResultsError) else (read, store.path(read))
            for read in store.each()
        ]
        good = [one for one in every if not isinstance(one, ResultsError)]
        kept = {path for _, path in self._selection(**filters).of(good, store.folder)}
        return [one for one in every if isinstance(one, ResultsError) or one[1] in kept]

    def has_digest(self, path: PathLike) -> bool:
        """Return False for a record of an early version, which carries no digest of itself."""
        from rankstone.results.serialise import has_digest
        from rankstone.results.store import content_of

        return has_digest(content_of(Path(path)), Path(path))

    def leaderboard(
        self, records: Iterable[RunRecord] | RunRecord | None = None, **filters: Unpack[Filters]
    ) -> Leaderboard:
        """Return one row per record, by default of all stored: quality with intervals, latency,
        memory, index size, status; a frame that a notebook draws as the command does."""
        from rankstone.leaderboards.frame import leaderboard
        from rankstone.leaderboards.shown import Leaderboard

        if records is None:
            stored = self.records(**filters)
        else:
            given = [(record, Path()) for record in alone_or_all(records)]
            stored = self._selection(**filters).of(given, Path("the records given"))
        return Leaderboard(leaderboard(record for record, _ in stored))

    def per_query(self, names: Records = ()) -> pd.DataFrame:
        """Return the measures of each query of the stored records `names`, or of all.

        Returns: the columns task, method and query, then one per measure.

        Raises: ResultsError, where a record or its values are absent.
        """
        from rankstone.leaderboards.frame import per_query

        return per_query([one for one in self.records(names) if names or one[0].status == "ok"])

    def suite_means(
        self, suite: str, *, zero_shot: bool = False, **filters: Unpack[Filters]
    ) -> pd.DataFrame:
        """Return the mean over a suite of every method that has stored records of it, or only of
        those that learnt from no training split of its tasks."""
        from rankstone.leaderboards.suites import suite_means
        from rankstone.leaderboards.trained import zero_shot as without_trained

        records = [record for record, _ in self.records(**filters)]
        kept = without_trained(records) if zero_shot else records
        return suite_means(kept, self.definitions.suite(suite))

    def board(
        self,
        name: str | None = None,
        *,
        measures: Sequence[str] | str = (),
        columns: Sequence[str] | str = (),
        title: str | None = None,
        sort: str | None = None,
        intervals: bool | None = None,
        significance: bool | None = None,
        top: int | None = None,
        zero_shot: bool = False,
        **filters: Unpack[Filters],
    ) -> ShownPage:
        """Return methods by tasks: the leaderboard that `leaderboards/` defines as `name`, over the
        records that it names or those of `results`, or else one of `measures` and `columns`.

        Args:
            measures: of each task; its headline by default.
            columns: costs, `mean`, and more measures; of a defined leaderboard instead of its own.
            title, sort, intervals, significance, top: as in a definition, or instead of it.
            zero_shot: leave out methods that learnt from a task's training split.

        Raises: RankstoneError, where something is not defined or records cannot be read.
        """
        from rankstone.leaderboards.boards import board, restated, stated
        from rankstone.leaderboards.labels import base_name
        from rankstone.leaderboards.pages.board import apart, page
        from rankstone.leaderboards.shown import shown_page
        from rankstone.results.store import ResultStore

        definitions = self.definitions
        spec, folder = self.defined_board(name) if name else (None, None)
        options: dict[str, Any] = {"title": title, "sort": sort, "intervals": intervals, "top": top,
                   "significance": significance, "zero_shot": zero_shot or None}  # fmt: skip
        given = {key: value for key, value in options.items() if value is not None}
        wanted = several(measures), several(columns)
        store = ResultStore(folder) if folder is not None else self._present_store()
        stored = self._selection(**filters).of(store.stored(), store.folder)
        there = dict.fromkeys(record.task.name for record, _ in stored)
        if spec is not None:
            named = list(spec.tasks)
            every = [task.name for task in definitions.named(named)]
            tasks = [task for task in every if task in there or not filters.get("on")]
            spec = restated(spec, *wanted, **given)
        else:
            named = names_of(filters.get("on") or ())
            every = [task for one in named for task in expanded(one, definitions)]
            tasks = list(dict.fromkeys([*(task for task in every if task in there), *there]))
        if not tasks:
            raise ResultsError(f"{store.folder}: no records for the board. (rankstone records ls)")
        if spec is None:
            spec = stated(tasks, *wanted, **{"title": "Leaderboard", **given})
        whole = len(named) == 1 and named[0] in definitions.suites and tasks == every
        methods = definitions.defined(base_name(record.method.name) for record, _ in stored)
        if spec.apart:
            return shown_page(apart(spec, stored, tasks, methods))
        made = board(
            spec,
            stored,
            tasks=tasks,
            suite=definitions.suite(named[0]) if whole else None,
            methods=methods,
        )
        return shown_page(page(made))

    def plot(self, on: Tasks, *, cost: str = "p95 latency", **origin: Unpack[Origin]) -> LayerChart:
        """Return quality against a cost of the stored records of the task `on`.

        Raises: RankstoneError, where fewer than two records have both, or Altair is absent.
        """
        from rankstone.leaderboards.costs import named_cost
        from rankstone.leaderboards.curves.drawn import can_plot
        from rankstone.leaderboards.pages.plots import chart

        if not can_plot():
            raise MissingExtraError("A plot", "site")
        records = [record for record, _ in self.records(on=on, **origin)]
        names = list(dict.fromkeys(record.task.name for record in records))
        drawn = chart(records, named_cost(cost)) if len(names) == 1 else None
        if drawn is None:
            raise ResultsError(
                f"{', '.join(names)}: a plot needs two records of a task with {cost}."
            )
        return drawn

    def compare(
        self,
        baseline: Methods,
        others: Methods,
        *,
        on: Tasks | None = None,
        measure: str | None = None,
    ) -> ShownList[Comparison]:
        """Compare `baseline` with each of `others`, query by query, on every task that has both.

        Args:
            baseline, others: methods of stored records, in full or by their last parts, or the
                objects that were run.
            on: only these tasks.
            measure: instead of each task's headline.

        Raises: RankstoneError, where a name has no record, or records cannot be compared.
        """
        from rankstone.leaderboards.compare import compare_stored
        from rankstone.leaderboards.pages.compare import page
        from rankstone.leaderboards.shown import ShownList

        [than], of = self._recorded(baseline), self._recorded(others)
        tasks = None if on is None else self._tasks(on)
        found = compare_stored(self.store, than, of, tasks=tasks, measure=measure)
        return ShownList(found, page, "comparison")

    def power(
        self,
        method: Methods,
        other: Methods,
        *,
        on: Tasks | None = None,
        differences: Sequence[float] | float = 0.01,
        comparisons: int = 1,
        level: float = 0.05,
        measure: str | None = None,
    ) -> ShownList[Power]:
        """Return what comparisons of methods that differ as these two can show, task by task.

        Args:
            method, other: of stored records, in full or by their last parts, or objects.
            on: only these tasks.
            differences: means for which the queries that show them are counted.
            comparisons: size of the family, at `level` together.
            measure: instead of each task's headline.

        Raises: RankstoneError, where a name has no record, or records cannot be compared.
        """
        from rankstone.leaderboards.pages.power import page
        from rankstone.leaderboards.power import Setting, power_stored
        from rankstone.leaderboards.shown import ShownList

        setting = Setting(tuple(several(differences)), comparisons, level)
        tasks = None if on is None else self._tasks(on)
        of, than = (self._recorded(one)[0] for one in (method, other))
        found = power_stored(self.store, of, than, setting, tasks=tasks, measure=measure)
        return ShownList(found, partial(page, setting=setting), "detectable difference")

    def gate(
        self,
        baseline: str,
        candidate: str,
        *,
        rules: PathLike | GateRules | None = None,
        on: Tasks | None = None,
    ) -> ShownList[Judgement]:
        """Judge by stored records whether `candidate` may replace `baseline`.

        Args:
            baseline, candidate: folders of records, whose cells are compared by method and task; or
                methods of `results`, compared by task.
            rules: a file, or the rules; by default a headline may drop .005, and .02 at most.
            on: only these tasks.

        Raises: RankstoneError, where a side or a rule is absent.
        """
        from rankstone.leaderboards.gate import judge_stored
        from rankstone.leaderboards.gate_rules import rules_of
        from rankstone.leaderboards.pages.gate import page
        from rankstone.leaderboards.shown import ShownList

        definitions, stated = self.definitions, rules_of(rules)
        given = None if on is None else names_of(on)
        tasks = given and [t for one in given for t in expanded(one, definitions) or [one]]
        named = [rule.suite for rule in stated.quality if rule.suite is not None]
        suites = {name: definitions.suite(name) for name in named}
        before, after = self._recorded((baseline, candidate))
        found = judge_stored(self.store, before, after, stated, tasks=tasks, suites=suites)
        return ShownList(found, page, "judgement")

    def report(
        self,
        methods: Methods | None = None,
        on: Tasks | None = None,
        *,
        baseline: Methods | None = None,
        title: str = "Retrieval report",
        **origin: Unpack[Origin],
    ) -> ShownPage:
        """Return one page about the stored records of `methods` on the tasks `on`, or all.

        Raises: RankstoneError, where a name has no record, or records cannot be compared.
        """
        from rankstone.leaderboards.pages.report import report
        from rankstone.leaderboards.shown import shown_page

        store = self._present_store()
        every = store.stored()
        kept = self._selection(methods=methods, on=on, **origin).of(every, store.folder)
        than = self._recorded(baseline)[0] if baseline is not None else None
        if than is not None:
            machine = origin.get("machine")
            side = self._selection(methods=than, on=on, machine=machine).of(every, store.folder)
            than = side[0][0].method.name if side else than
            paths = {path for _, path in [*kept, *side]}
            kept = [one for one in every if one[1] in paths]
        return shown_page(report(kept, baseline=than, title=title))

    def export(
        self,
        records: Records | None,
        to: str,
        folder: PathLike,
        **filters: Unpack[Filters],
    ) -> list[Path]:
        """Write records, all or those named, into `folder` as `trec`, `ir_metadata`, `mteb` or
        `parquet`. A warning names those on tasks that MTEB lacks, which it does not get.

        Raises: RankstoneError, where a record is absent, or lacks what the form needs.
        """
        from rankstone.results.exports import export

        stored = self.records(records or (), **filters)
        if not records:
            stored = [one for one in stored if one[0].status == "ok"]
        if not stored:
            raise ResultsError(f"{self.store.folder}: no records to export. (rankstone run)")
        return export(stored, to, Path(folder))

    def _recorded(self, methods: Methods) -> list[str]:
        """Return the names under which records of methods are."""
        return [self.definitions.recorded(name) for name in names_of(methods)]

    def _store(self, definitions: Workspace) -> ResultStore:
        from rankstone.results.store import ResultStore

        return ResultStore(Path(self.results) if self.results is not None else definitions.results)

    def _present_store(self) -> ResultStore:
        """The folder of the records; ResultsError where it was named and is absent."""
        if self.results is not None and not Path(self.results).is_dir():
            raise no_folder(self.results)
        return self.store

    def _tasks(self, on: Tasks) -> list[str]:
        """Return the names of the tasks `on` that have records."""
        return list(dict.fromkeys(record.task.name for record, _ in self.records(on=on)))

    def _selection(
        self,
        *,
        methods: Methods | None = None,
        on: Tasks | None = None,
        family: Sequence[str] | str | None = None,
        machine: Sequence[str] | str | None = None,
    ) -> Selection:
        """Return the filter of records that a command states."""
        from rankstone.results.selection import Selection

        definitions = self.definitions
        return Selection(
            methods=self._recorded(methods or ()),
            tasks={name: expanded(name, definitions) for name in names_of(on or ())},
            families=several(family or ()),
            machines=several(machine or ()),
        )


def alone_or_all(given: Any) -> list[Any]:
    """Return a record or a name, or several, as a list."""
    from rankstone.results.record import RunRecord

    return [given] if isinstance(given, RunRecord) else several(given)


def no_folder(folder: PathLike) -> ResultsError:
    return ResultsError(f"{folder}: no folder is there. Name that of the records: --results")
