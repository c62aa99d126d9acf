"""Views of stored records: nothing here runs a method or reads a collection."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rankstone.catalogue import Catalogue
from rankstone.errors import MissingExtraError, ResultsError
from rankstone.files import PathLike
from rankstone.strict import chosen
from rankstone.workspace import Methods, Tasks, Workspace, names_of, several

if TYPE_CHECKING:
    import pandas as pd
    from altair import LayerChart

    from rankstone.leaderboards.boards import Board
    from rankstone.leaderboards.compare import Comparison
    from rankstone.leaderboards.gate import Judgement
    from rankstone.leaderboards.gate_rules import GateRules
    from rankstone.leaderboards.power import Power
    from rankstone.leaderboards.shown import Leaderboard, ShownList, ShownPage
    from rankstone.results.record import RunRecord
    from rankstone.results.store import ResultStore, Stored


@dataclass(frozen=True, kw_only=True)
class Views(Catalogue):
    """The commands of a session that only read records."""

    @property
    def store(self) -> ResultStore:
        """The folder of the records, which may be absent."""
        return self._store(self.definitions)

    def records(self, names: Sequence[str] | str = ()) -> list[Stored]:
        """Return the stored records and their files: those `names`, or all.

        Raises: ResultsError, where the named folder of records or one of the records is absent.
        """
        store = self._present_store()
        return [store.named(one) for one in self._recorded(names)] if names else store.stored()

    def all_records(
        self, names: Sequence[str] | str = (), *, changed: bool = False
    ) -> list[Stored | ResultsError]:
        """Return `records`, and for each file that is no record the reason.

        Args:
            changed: return records that changed since they were written, too.

        Raises: ResultsError, as for `records`.
        """
        from rankstone.results.store import ResultStore

        store = ResultStore(self._present_store().folder, changed=changed)
        if names:
            return [store.named(name) for name in several(names)]
        return [
            read if isinstance(read, ResultsError) else (read, store.path(read))
            for read in store.each()
        ]

    def has_digest(self, path: PathLike) -> bool:
        """Return False for a record of an early version, which carries no digest of itself."""
        from rankstone.results.serialise import has_digest
        from rankstone.results.store import content_of

        return has_digest(content_of(Path(path)), Path(path))

    def leaderboard(self, records: Iterable[RunRecord] | RunRecord | None = None) -> Leaderboard:
        """Return one row per record, by default of all stored: quality with intervals, latency,
        memory, index size, status; a frame that a notebook draws as the command does."""
        from rankstone.leaderboards.frame import leaderboard
        from rankstone.leaderboards.shown import Leaderboard

        given = self._records() if records is None else alone_or_all(records)
        return Leaderboard(leaderboard(given))

    def per_query(self, names: Sequence[str] | str = ()) -> pd.DataFrame:
        """Return the measures of each query of the stored records `names`, or of all.

        Returns: the columns task, method and query, then one per measure.

        Raises: ResultsError, where a record or its values are absent.
        """
        from rankstone.leaderboards.frame import per_query

        return per_query([one for one in self.records(names) if names or one[0].status == "ok"])

    def suite_means(self, suite: str, *, zero_shot: bool = False) -> pd.DataFrame:
        """Return the mean over a suite of every method that has stored records of it, or only of
        those that learnt from no training split of its tasks."""
        from rankstone.leaderboards.suites import suite_means
        from rankstone.leaderboards.trained import zero_shot as without_trained

        records = self._records()
        kept = without_trained(records) if zero_shot else records
        return suite_means(kept, self.definitions.suite(suite))

    def board(self, name: str, *, zero_shot: bool = False) -> Board:
        """Return the defined leaderboard `name` over the records it names, or those of `results`.

        Args:
            zero_shot: leave out methods that learnt from a task's training split.

        Raises: RankstoneError, where it is not defined or its records cannot be read.
        """
        from rankstone.leaderboards.boards import TableSpec, board
        from rankstone.results.store import ResultStore

        definitions = self.definitions
        [spec] = chosen(definitions.load(TableSpec, "leaderboards"), [name], "Leaderboard")
        named = spec.records and self.results is None
        holder = definitions.holder(f"leaderboards/{name}.toml")
        store = ResultStore(holder / spec.records) if named else self._store(definitions)
        stored = store.stored()
        alone = len(spec.tasks) == 1 and spec.tasks[0] in definitions.suites
        return board(
            spec.model_copy(update={"zero_shot": spec.zero_shot or zero_shot}),
            stored,
            tasks=[task.name for task in definitions.named(spec.tasks)],
            suite=definitions.suite(spec.tasks[0]) if alone else None,
            methods=definitions.defined(record.method.name for record, _ in stored),
        )

    def plot(self, on: str) -> LayerChart:
        """Return quality against p95 latency of the stored records of the task `on`.

        Raises: RankstoneError, where fewer than two records have both, or Altair is absent.
        """
        from rankstone.leaderboards.pages.plots import can_plot, chart
        from rankstone.results.store import recorded_name

        if not can_plot():
            raise MissingExtraError("A plot", "site")
        records = self._records()
        known = list(dict.fromkeys(record.task.name for record in records))
        name = recorded_name(on, known, "task", self.store.folder)
        drawn = chart([record for record in records if record.task.name == name])
        if drawn is None:
            raise ResultsError(f"{name}: a plot needs two records with quality and latency.")
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

        [than], tasks = self._recorded(baseline), None if on is None else names_of(on)
        of = self._recorded(others)
        found = compare_stored(self.store, than, of, tasks=tasks, measure=measure)
        return ShownList(found, page, "comparison")

    def power(
        self,
        method: str,
        other: str,
        *,
        on: Sequence[str] | str | None = None,
        differences: Sequence[float] = (0.01,),
        comparisons: int = 1,
        level: float = 0.05,
        measure: str | None = None,
    ) -> list[Power]:
        """Return what comparisons of methods that differ as these two can show, task by task.

        Args:
            method, other: of stored records, in full or by their last parts.
            on: only these tasks.
            differences: means for which the queries that show them are counted.
            comparisons: size of the family, at `level` together.
            measure: instead of each task's headline.

        Raises: RankstoneError, where a name has no record, or records cannot be compared.
        """
        from rankstone.leaderboards.power import Setting, power_stored

        setting = Setting(tuple(differences), comparisons, level)
        tasks = None if on is None else several(on)
        return power_stored(self.store, method, other, setting, tasks=tasks, measure=measure)

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
            on: only these tasks, by full name.

        Raises: RankstoneError, where a side or a rule is absent.
        """
        from rankstone.leaderboards.gate import judge_stored
        from rankstone.leaderboards.gate_rules import rules_of
        from rankstone.leaderboards.pages.gate import page
        from rankstone.leaderboards.shown import ShownList

        tasks, stated = None if on is None else names_of(on), rules_of(rules)
        named = [rule.suite for rule in stated.quality if rule.suite is not None]
        suites = {name: self.definitions.suite(name) for name in named}
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
    ) -> ShownPage:
        """Return one page about the stored records of `methods` on the tasks `on`, or all.

        Raises: RankstoneError, where a name has no record, or records cannot be compared.
        """
        from rankstone.leaderboards.pages.report import report_stored
        from rankstone.leaderboards.shown import shown_page

        of, side = self._recorded(methods or ()), self._recorded(baseline or ())
        tasks, than = names_of(on or ()), side[0] if side else None
        return shown_page(report_stored(self.store, of, tasks, baseline=than, title=title))

    def export(self, records: Sequence[str] | str | None, to: str, folder: PathLike) -> list[Path]:
        """Write records, all or those named, into `folder` as `trec`, `ir_metadata`, `mteb` or
        `parquet`.

        Raises: RankstoneError, where a record is absent, or lacks what the form needs.
        """
        from rankstone.results.exports import export

        store = self.store
        if records:
            stored = [store.named(name) for name in several(records)]
        else:
            stored = [one for one in store.stored() if one[0].status == "ok"]
        if not stored:
            raise ResultsError(f"{store.folder}: no records to export. (rankstone run)")
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

    def _records(self) -> list[RunRecord]:
        return self._present_store().records()


def alone_or_all(given: Iterable[RunRecord] | RunRecord) -> list[RunRecord]:
    """Return one record, or several, as a list."""
    from rankstone.results.record import RunRecord

    return [given] if isinstance(given, RunRecord) else list(given)


def no_folder(folder: PathLike) -> ResultsError:
    return ResultsError(f"{folder}: no folder is there. Name that of the records: --results")
