"""Views of stored records, made without running a method or reading a collection."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from rankstone.catalogue import expanded
from rankstone.errors import ResultsError, require
from rankstone.files import PathLike
from rankstone.records import StoredRecords, alone_or_all
from rankstone.workspace import Methods, Tasks, names_of, several

if TYPE_CHECKING:
    import pandas as pd
    from altair import LayerChart

    from rankstone.leaderboards.compare import Comparison
    from rankstone.leaderboards.gate import Judgement
    from rankstone.leaderboards.gates.rules import GateRules
    from rankstone.leaderboards.power import Power
    from rankstone.leaderboards.shown import Leaderboard, ShownList, ShownPage
    from rankstone.records import Records
    from rankstone.results.record import RunRecord
    from rankstone.results.selection import Filters, Origin


@dataclass(frozen=True, kw_only=True)
class Views(StoredRecords):
    """The commands of a session that only read records."""

    def leaderboard(
        self, records: Iterable[RunRecord] | RunRecord | None = None, **filters: Unpack[Filters]
    ) -> Leaderboard:
        """Return one row per record, by default of all stored records.

        Columns are quality with intervals, latency, memory, index size and status. A notebook
        shows the result as the command does."""
        from rankstone.leaderboards.frame import leaderboard
        from rankstone.leaderboards.shown import Leaderboard

        if records is None:
            stored = self.records(**filters)
        else:
            given = [(record, Path()) for record in alone_or_all(records)]
            stored = self._selection(**filters).of(given, Path("the records given"))
        return Leaderboard(leaderboard(self.labelled(record for record, _ in stored)))

    def labelled(self, records: Iterable[RunRecord]) -> list[RunRecord]:
        """Return the records; methods with parameters set by hand get labels with these parameters,
        such as `minilm-hnswlib ef_search=64`."""
        from rankstone.leaderboards.labels import base_name, with_grids

        given = list(records)
        names = {record.method.name for record in given}
        changed = {base_name(name) for name in names} - names
        return with_grids(given, self.definitions.defined(changed) if changed else {})

    def per_query(self, names: Records = ()) -> pd.DataFrame:
        """Return the measures of each query of the stored records `names`, or of all.

        Returns: a frame with the columns task, method and query, and one column per measure.

        Raises: ResultsError, if a record or its values are absent.
        """
        from rankstone.leaderboards.frame import per_query

        return per_query([one for one in self.records(names) if names or one[0].status == "ok"])

    def suite_means(
        self, suite: str, *, zero_shot: bool = False, **filters: Unpack[Filters]
    ) -> pd.DataFrame:
        """Return the mean over a suite of every method with stored records of the suite; with
        `zero_shot`, only of methods that were not trained on a training split of its tasks."""
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
        """Return a table of methods by tasks.

        The table is the leaderboard `name` defined in `leaderboards/`, over the records that its
        definition names or those of `results`; without `name`, a table of `measures` and `columns`.

        Args:
            measures: measures of each task; by default its headline.
            columns: costs, `mean`, and further measures; they override those of a definition.
            title, sort, intervals, significance, top: as in a definition; they override it.
            zero_shot: leave out methods that were trained on a task's training split.

        Raises: RankstoneError, if a name is not defined or records cannot be read.
        """
        from rankstone.leaderboards.board_spec import restated, stated
        from rankstone.leaderboards.boards import board
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
        """Return a plot of quality against a cost for the stored records of the task `on`.

        Raises: RankstoneError, if fewer than two records have both, or Altair is not installed.
        """
        from rankstone.leaderboards.costs import named_cost
        from rankstone.leaderboards.curves.drawn import NEEDED
        from rankstone.leaderboards.pages.plots import chart

        require("A plot", "site", *NEEDED)
        records = self.labelled(record for record, _ in self.records(on=on, **origin))
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
            measure: the measure to compare, instead of each task's headline.

        Raises: RankstoneError, if a name has no record, or records cannot be compared.
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
        """Return, for each task, the differences that its queries can show between two methods like
        these.

        Args:
            method, other: methods of stored records, in full or by their last parts, or objects.
            on: only these tasks.
            differences: mean differences; the number of queries that show each is computed.
            comparisons: number of comparisons that share `level`.
            measure: the measure, instead of each task's headline.

        Raises: RankstoneError, if a name has no record, or records cannot be compared.
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
        """Judge from stored records if `candidate` is worse than `baseline`.

        Args:
            baseline, candidate: folders of records, compared by method and task; or methods with
                records in `results`, compared by task.
            rules: a file, or the rules; by default the allowance of a headline is .005 and its
                hard limit .02.
            on: only these tasks.

        Raises: RankstoneError, if a side or a rule is absent.
        """
        from rankstone.leaderboards.gate import judge_stored
        from rankstone.leaderboards.gates.rules import rules_of
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

        Raises: RankstoneError, if a name has no record, or records cannot be compared.
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
        shown = zip(self.labelled(record for record, _ in kept), (p for _, p in kept), strict=True)
        return shown_page(report([*shown], baseline=than, title=title))

    def export(
        self,
        records: Records | None,
        to: str,
        folder: PathLike,
        **filters: Unpack[Filters],
    ) -> list[Path]:
        """Write all records, or those of the named methods and cells, into `folder`.

        The form `to` is `trec`, `ir_metadata`, `mteb` or `parquet`. Records on tasks that MTEB
        lacks are not written as `mteb`; a warning names them.

        Raises: RankstoneError, if a record is absent, or lacks data that the format needs.
        """
        from rankstone.results.exports import export

        store = self._present_store()
        stored = self._all_named(records, store) if records else store.stored()
        stored = self._selection(**filters).of(stored, store.folder)
        if not records:
            stored = [one for one in stored if one[0].status == "ok"]
        if not stored:
            raise ResultsError(f"{self.store.folder}: no records to export. (rankstone run)")
        return export(stored, to, Path(folder))

    def _tasks(self, on: Tasks) -> list[str]:
        """Return the names of the tasks `on` that have records."""
        return list(dict.fromkeys(record.task.name for record, _ in self.records(on=on)))
