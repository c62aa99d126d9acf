"""Views of stored records: nothing here runs a method or reads a collection."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rankstone.catalogue import Catalogue
from rankstone.errors import ResultsError
from rankstone.files import PathLike
from rankstone.strict import chosen
from rankstone.workspace import Workspace, several

if TYPE_CHECKING:
    import pandas as pd

    from rankstone.leaderboards.boards import Board
    from rankstone.leaderboards.compare import Comparison
    from rankstone.leaderboards.document import Page
    from rankstone.leaderboards.gate import Judgement
    from rankstone.leaderboards.gate_rules import GateRules
    from rankstone.leaderboards.power import Power
    from rankstone.results.record import RunRecord
    from rankstone.results.store import ResultStore, Stored


@dataclass(frozen=True, kw_only=True)
class Views(Catalogue):
    """The commands of a session that only read records."""

    @property
    def store(self) -> ResultStore:
        """The folder of the records, which may be absent."""
        return self._store(self.definitions)

    def records(self, names: Sequence[str] = ()) -> list[Stored]:
        """Return the stored records and their files: those `names`, or all.

        Raises: ResultsError, where the named folder of records or one of the records is absent.
        """
        store = self._present_store()
        named = self.definitions.recorded
        return [store.named(named(name)) for name in names] if names else store.stored()

    def all_records(
        self, names: Sequence[str] = (), *, changed: bool = False
    ) -> list[Stored | ResultsError]:
        """Return `records`, and for each file that is no record the reason.

        Args:
            changed: return records that changed since they were written, too.

        Raises: ResultsError, as for `records`.
        """
        from rankstone.results.store import ResultStore

        store = ResultStore(self._present_store().folder, changed=changed)
        if names:
            return [store.named(name) for name in names]
        return [
            read if isinstance(read, ResultsError) else (read, store.path(read))
            for read in store.each()
        ]

    def has_digest(self, path: PathLike) -> bool:
        """Return False for a record of an early version, which carries no digest of itself."""
        from rankstone.results.serialise import has_digest
        from rankstone.results.store import content_of

        return has_digest(content_of(Path(path)), Path(path))

    def leaderboard(self, records: Iterable[RunRecord] | None = None) -> pd.DataFrame:
        """Return one row per record, by default of all stored: quality with intervals, latency,
        memory, index size, status."""
        from rankstone.leaderboards.frame import leaderboard

        return leaderboard(self._records() if records is None else list(records))

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
        from rankstone.leaderboards.compare import compare_stored

        tasks, named = None if on is None else several(on), self.definitions.recorded
        than = [named(other) for other in several(others)]
        return compare_stored(self.store, named(baseline), than, tasks=tasks, measure=measure)

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
        from rankstone.leaderboards.gate import judge_stored
        from rankstone.leaderboards.gate_rules import rules_of

        tasks, stated = None if on is None else several(on), rules_of(rules)
        named = [rule.suite for rule in stated.quality if rule.suite is not None]
        suites = {name: self.definitions.suite(name) for name in named}
        before, after = map(self.definitions.recorded, (baseline, candidate))
        return judge_stored(self.store, before, after, stated, tasks=tasks, suites=suites)

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
        from rankstone.leaderboards.pages.report import report_stored

        named = self.definitions.recorded
        methods = methods and [named(method) for method in methods]
        baseline = baseline and named(baseline)
        return report_stored(self.store, methods, on, baseline=baseline, title=title)

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
            stored = [one for one in store.stored() if one[0].status == "ok"]
        if not stored:
            raise ResultsError(f"{store.folder}: no records to export. (rankstone run)")
        return export(stored, to, Path(folder))

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


def no_folder(folder: PathLike) -> ResultsError:
    return ResultsError(f"{folder}: no folder is there. Name that of the records: --results")
