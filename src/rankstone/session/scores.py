"""Scores of runs: files of other tools, more measures, and checks of stored records."""

from __future__ import annotations

import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from rankstone.errors import DefinitionError, MeasureError, RankstoneWarning
from rankstone.files import PathLike
from rankstone.specs import TaskSpec
from rankstone.views import Views
from rankstone.workspace import Tasks, Workspace, several

if TYPE_CHECKING:
    import pandas as pd

    from rankstone.evaluation.conventions.comparison import Comparison as RulesComparison
    from rankstone.execution.reporting import Reporter
    from rankstone.results.record import RunRecord
    from rankstone.scoring.task_qrels import Judged


def refuse_equal_names(runs: Sequence[PathLike]) -> None:
    """Raise DefinitionError if two run files would have records of one name."""
    from rankstone.scoring.score_file import default_name

    refuse_repeated([default_name(Path(run)) for run in runs], "score them one by one, with --name")


def refuse_repeated(names: Sequence[str], remedy: str) -> None:
    """Raise DefinitionError if two records to be stored have the same name."""
    repeated = next((one for one in names if names.count(one) > 1), None)
    if repeated is not None:
        raise DefinitionError(
            f"several files are named {repeated}, and only one would be kept: {remedy}."
        )


@dataclass(frozen=True, kw_only=True)
class Scores(Views):
    """The commands of a session that score runs."""

    command: tuple[str, ...] = ()
    """Command line, stored in the records that are written."""
    reporter: Reporter | None = None
    """Receives the progress of runs."""

    def with_measures(
        self, records: Sequence[RunRecord], measures: Sequence[str] | str
    ) -> list[RunRecord]:
        """Return stored records with `measures`; absent ones are computed from the stored runs.

        The computed measures are stored. If a measure is deeper than a run, the record stays
        without this measure, with a warning.

        Raises: RankstoneError, if a measure is unknown or deeper than all runs, or data changed.
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
        measures: Sequence[str] | str = (),
    ) -> RunRecord:
        """Score a TREC run file of any other tool, and store its record beside those of runners.

        Args:
            run: the file, plain or compressed; or {query: {document: score}}, or a data frame with
                the columns query, document and score (or the columns of ir_measures or PyTerrier).
            on: the task; give either `on` or `qrels`.
            qrels: a file of judgements in TREC or BEIR form, or judgements in memory with a column
                label; labels of at least `relevance` are relevant. Data in memory is copied to the
                cache, so that the record can be verified.
            name: name of the method in the record; `runs/<file name>` by default.
            task_name: name, in the record, of a task without a definition.
            measures: further measures, beside those of the task (`with_measures`).

        Returns: the record as stored; its ``warnings`` state oddities of the file.

        Raises: RankstoneError, if the file, the task or its data is wrong.
        """
        from rankstone.benchmarks.task_names import file_task
        from rankstone.evaluation.evaluate import parse_all
        from rankstone.scoring.in_memory import is_in_memory, write_file
        from rankstone.scoring.score_file import score_file
        from rankstone.scoring.task_qrels import open_judged

        if is_in_memory(run):
            with tempfile.TemporaryDirectory(prefix="rankstone-run-") as folder:
                file = write_file(run, "run", Path(folder))
                return self.score(
                    file,
                    on,
                    qrels=qrels,
                    relevance=relevance,
                    name=name,
                    task_name=task_name,
                    measures=measures,
                )
        if is_in_memory(qrels):
            qrels = write_file(qrels, "qrels", self.sources.cache / "judgements")
        definitions = self.definitions
        if on is not None and qrels is None:
            task = definitions.one_task(self._reconstructed(on))
        elif qrels is not None and on is None:
            task = file_task(Path(cast("PathLike", qrels)), relevance=relevance)
        else:
            raise DefinitionError(
                "Name either a task (--on TASK) or a file of judgements (--qrels)."
            )
        [task] = self._tasks_under(definitions, task, task_name)
        parse_all(several(measures), task.depth, task.judge)
        record = score_file(
            Path(cast("PathLike", run)),
            open_judged(task, self.sources, self._reporter),
            self._store(definitions),
            name=name,
            command=self.command,
            workspace=definitions.root,
        )
        return self.with_measures([record], measures)[0]

    def import_(
        self,
        files: Sequence[PathLike],
        source: Literal["mteb", "trec"],
        *,
        on: str | None = None,
        name: str | None = None,
    ) -> list[Path]:
        """Store MTEB's result files, or TREC runs of the task `on`, as records.

        If one of MTEB's files is faulty, none is stored.

        Returns: the files of the records.

        Raises: RankstoneError, before anything is stored, if two files have the record of one
            method and task.
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
            refuse_equal_names(files)
            return [store.path(self.score(file, on, name=name)) for file in files]
        records = [read_mteb(Path(file), definitions.tasks, name=name, when=when) for file in files]
        refuse_repeated(
            [f"{record.method.name} on {record.task.name}" for record in records],
            "import them one by one, with --name",
        )
        return [store.path(store.write(record)) for record in records]

    def verify(self, record: RunRecord, path: PathLike) -> list[str]:
        """Return the differences between the record stored at `path` and its recomputation.

        Means, values per query and latencies must agree to 1e-9, intervals to 1e-6. The record, its
        files and its data must agree with their sha256, task and policy with today's definition.
        """
        from rankstone.scoring.verification import differences

        return list(differences(record, Path(path), self._judged))

    def compare_rules(self, record: RunRecord, path: PathLike, tool: str) -> list[RulesComparison]:
        """Evaluate the run of the record stored at `path` by its own rules and by those of `tool`.

        `tool` is a key of `rankstone.evaluation.conventions.tools.TOOLS`.

        Raises: RankstoneError, if the record has no run, is judged by answers, or its task's
            data cannot be opened.
        """
        from rankstone.leaderboards.frame import measure_order
        from rankstone.scoring.verification import compare_rules

        measures = measure_order([record])
        return compare_rules(record, Path(path), tool, measures=measures, judged=self._judged)

    def _tasks_under(
        self, definitions: Workspace, tasks: Tasks, name: str | None
    ) -> list[TaskSpec]:
        """Return the tasks; a single task is named `name` if this is given."""
        named = definitions.named([self._reconstructed(task) for task in several(tasks)])
        if name is None:
            return named
        from rankstone.benchmarks.task_names import named_by_user
        from rankstone.results.own_names import refuse_other_content

        if len(named) != 1:
            raise DefinitionError("--as is for one task at a time. Name one.")
        task = named_by_user(named[0], name)
        refuse_other_content(self._store(definitions), task)
        return [task]

    def _reconstructed(self, task: str | TaskSpec) -> str | TaskSpec:
        """Return the task of the record named `task`, if no file defines the task."""
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
        """Return, for each query, the documents that the record's policy counts as relevant."""
        least = record.policy.relevance
        return {
            query: [document for document, label in labels.items() if label >= least]
            for query, labels in self._judged(record).qrels.items()
        }

    def _judged(self, record: RunRecord) -> Judged:
        """Return the judgements of the record's task, as the task is defined today."""
        from rankstone.scoring.task_qrels import open_judged

        return open_judged(self.task_of(record), self.sources)
