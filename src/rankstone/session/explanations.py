"""Search for causes of a difference between a stored number and a published one."""

from __future__ import annotations

import contextlib
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rankstone.errors import DefinitionError, RankstoneWarning
from rankstone.files import PathLike
from rankstone.session.runs import Runs
from rankstone.workspace import Changes, several

if TYPE_CHECKING:
    from rankstone.leaderboards.shown import ShownExplanation
    from rankstone.results.record import RunRecord
    from rankstone.scoring.explained import Case


@dataclass(frozen=True, kw_only=True)
class Explanations(Runs):
    """The command of a session that explains a difference."""

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
        """Explain the difference between a stored and a published number by known causes.

        Args:
            record: METHOD@TASK, the file of a record, or a record as `run` returns it.
            published: a number, as text if it ends in zeros; or a table of `leaderboards/papers`
                (or a part of its name), or `TABLE:ROW`.
            measure: the measure to explain, instead of the task's headline.
            qrels: files of other judgements to try.
            encodings: try changes of the stored document vectors; only queries are encoded again.
            rerun: also run the method without prompts, without titles, at other lengths and so on;
                encodings are kept in the cache, records are not stored.
            queries: number of queries of `rerun`, from which means are estimated.

        Raises: RankstoneError, if a name, the measure or the value is not found, or the record
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
            f"{name}: its definition is missing, or has changed since the record was made, so it"
            " cannot be run. Name it as it was run, METHOD@TASK; a run of another tool has none."
        )
