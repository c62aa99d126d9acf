"""Explanation of a stored number: its run, its judgements, other judgements, and known causes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from rankstone.benchmarks.availability import entry
from rankstone.benchmarks.dataset import Dataset, Sources
from rankstone.benchmarks.task_names import FILE_TASKS
from rankstone.errors import ResultsError
from rankstone.evaluation import measure_names as names
from rankstone.evaluation.conventions.causes import STORED, Cause, Setting, causes_of_rules
from rankstone.evaluation.conventions.rules import Rules
from rankstone.evaluation.conventions.scores import Scores
from rankstone.evaluation.explanation import Bench, Explanation, Published, Untried, search
from rankstone.evaluation.ranking import Ranking
from rankstone.results.record import RunRecord
from rankstone.results.side_files import side_file
from rankstone.results.store import Found
from rankstone.results.trec_run import Run
from rankstone.scoring.reencoding import facts, untried
from rankstone.scoring.task_qrels import Judged, open_judged
from rankstone.scoring.verification import changed_data
from rankstone.specs import TaskSpec

QUICK = ("prepared", "judgements")
"""States of data whose judgements can be read without a download."""
SELF_FIRST = "own id first"


@dataclass(kw_only=True)
class Case:
    """The run and the judgements of a record, and other inputs of its number."""

    record: RunRecord
    judged: Judged
    measure: names.Measure
    """Without its own threshold, which is in `rules`."""
    rules: Rules
    runs: dict[str, Run]
    judgements: dict[str, Mapping[str, Mapping[str, int]]]
    causes: list[Cause] = field(default_factory=list)
    sample: dict[str, str] = field(default_factory=dict)
    """As in `Bench`."""
    computed: set[str] = field(default_factory=set)
    """Causes of `scoring.reencoding` that were computed."""

    @classmethod
    def of(cls, record: RunRecord, path: Path, judged: Judged, measure: str) -> Case:
        """Open the stored run of the record at `path`, and find the causes that apply to it.

        Raises: ResultsError, if it has no run; MeasureError, if `measure` is unknown, too deep, or
            not a core measure.
        """
        file, policy = side_file(record, path, "run"), record.policy
        if file is None:
            raise ResultsError(f"{path}: the record has no run, so nothing can be recomputed.")
        run = judged.read(file)
        parsed = _core(measure, policy.depth)
        least = policy.relevance if parsed.rel is None else parsed.rel
        case = cls(
            record=record,
            judged=judged,
            measure=replace(parsed, rel=None),
            rules=Rules(relevance=least, self_hits=policy.self_hits),
            runs={STORED: run},
            judgements={STORED: _without(judged.qrels_for(run), judged)},
        )
        case._find_causes()
        return case

    @property
    def setting(self) -> Setting:
        return Setting(measure=self.measure, rules=self.rules)

    def _find_causes(self) -> None:
        labels = {n for row in self.judgements[STORED].values() for n in row.values()}
        self.causes += causes_of_rules(
            self.setting,
            labels=labels,
            depth=self.record.policy.depth,
            dataset=self.record.task.dataset,
        )
        if self.rules.self_hits == "drop":
            self.runs[SELF_FIRST] = self._with_own_first()
            changes = {"run": SELF_FIRST, "self_hits": "keep"}
            name = "documents of the query's own id kept, assumed to come first"
            self.causes.append(Cause(name=name, changes=changes))

    def _with_own_first(self) -> Run:
        """Return the stored run with the document of each query's id before all others."""
        run, dataset = self.runs[STORED], self.judged.dataset
        own = run.query_ids
        if dataset is not None:
            own = [q for q, at in zip(own, dataset.corpus.positions(own), strict=True) if at >= 0]
        return _joined(run, [(query, query, np.inf) for query in own])

    def _upper_bound(self) -> float:
        """Return the value of a run extended by all relevant documents that it lacks."""
        run, qrels = self.runs[STORED], self.judgements[STORED]
        lowest = float(run.score.min(initial=0))
        ranked = [
            (query, document, lowest - 1 - place)
            for query, row in qrels.items()
            for place, document in enumerate(sorted(row, key=lambda d: -row[d]))
            if row[document] > 0
        ]
        every = _joined(run, ranked)
        pairs = every.query * len(every.document_ids) + every.document
        n = len(run.query)
        new = ~np.isin(pairs[n:], pairs[:n])
        lacking = [row for row, is_new in zip(ranked, new.tolist(), strict=True) if is_new]
        longer = _joined(run, lacking)
        deepest = int(np.bincount(longer.query).max(initial=1))
        return Scores(longer, qrels, deepest).mean(self.measure, self.rules)

    def add_judgements(self, name: str, other: Judged) -> None:
        """Try other judgements, for the queries that are judged in both."""
        own = self.judgements[STORED]
        shared = {query: row for query, row in other.qrels.items() if query in own}
        if any(label > 0 for row in shared.values() for label in row.values()):
            self.judgements[name] = shared
            words = f"judgements of {name}, {len(shared)} of {len(own)} queries"
            self.causes.append(Cause(name=words, changes={"judgements": name}))

    def add_record(self, record: RunRecord, path: Path, judged: Judged) -> None:
        """Try the stored run of the same method on another split or version of the data."""
        file, name = side_file(record, path, "run"), record.task.name
        if file is None:
            return
        run = judged.read(file)
        self.runs[name], self.judgements[name] = run, _without(judged.qrels_for(run), judged)
        changes = {"run": name, "judgements": name}
        self.causes.append(Cause(name=f"the run on {name}", changes=changes))

    def add_run(self, name: str, run: Run, queries: Iterable[str] | None = None) -> None:
        """Try another run, of all queries or of a sample from which its mean is estimated."""
        self.runs[name] = run
        self.computed.add(name)
        self.causes.append(Cause(name=name, changes={"run": name}))
        if queries is not None:
            own = self.judgements[STORED]
            self.sample[name] = f"queries of {name}"
            self.judgements[self.sample[name]] = {q: own[q] for q in queries if q in own}

    def add_ranking(self, name: str, ranking: Ranking, dataset: Dataset) -> None:
        """Try the results of another search over the same documents."""
        row, column = np.nonzero(ranking.docs >= 0)
        found, which = np.unique(ranking.docs[row, column], return_inverse=True)
        run = Run(
            query_ids=list(dataset.query_ids),
            document_ids=dataset.corpus.ids(found),
            query=row,
            document=which.reshape(-1),
            score=ranking.scores[row, column],
        )
        self.add_run(name, run)

    def explained(self, measure: str, published: Published) -> Explanation:
        bench = Bench(
            self.runs, self.judgements, depth=self.record.policy.depth, sample=self.sample
        )
        return search(
            bench,
            self.setting,
            self.causes,
            published,
            method=self.record.method.name,
            task=self.record.task.name,
            measure=measure,
            untried=tuple(self._untried()),
            facts=(*changed_data(self.record, self.judged), *facts(self.record, self.judged.task)),
        )

    def _untried(self) -> Iterator[Untried]:
        yield from (one for one in untried(self.record) if one.cause not in self.computed)
        yield from self._short_lists()
        if self.measure.cutoff is None:
            yield Untried(
                cause="a deeper run",
                why=f"the stored run holds {self.record.policy.depth:,} results per query; with"
                f" more the value would be {self._upper_bound():.4f} at most",
            )

    def _short_lists(self) -> Iterator[Untried]:
        """Yield a cause if another tool would fill up short lists, with their number."""
        run, wanted = self.runs[STORED], self.measure.cutoff or self.record.policy.depth
        counts = dict(zip(run.query_ids, np.bincount(run.query).tolist(), strict=True))
        own = self.judgements[STORED]
        short = sum(counts.get(query, 0) < wanted for query in own)
        if short:
            why = (
                f"{short:,} of {len(own):,} queries have fewer than {wanted:,} results; a tool"
                " that goes on with documents of score 0 finds relevant ones among them"
            )
            yield Untried(cause="short lists filled up", why=why)


def add_related(
    case: Case, task: TaskSpec, every: Iterable[TaskSpec], sources: Sources, stored: Found
) -> None:
    """Try the judgements of other available versions of the task's data, and the `stored` runs of
    the method on other splits."""
    for other in every:
        if _is_related(task, other) and entry(other, sources).state in QUICK:
            judged = open_judged(other, sources)
            case.add_judgements(other.name, judged)
            if run := stored.get((case.record.method.name, other.name)):
                case.add_record(*run, judged)


def _is_related(task: TaskSpec, other: TaskSpec) -> bool:
    """Return True for another split or version of a task's data, and for a file of judgements."""
    if other.name == task.name.partition("@")[0] or {task.judge, other.judge} != {"judgements"}:
        return False
    return other.name.startswith(FILE_TASKS) or _same_data(task, other)


def _same_data(task: TaskSpec, other: TaskSpec) -> bool:
    one, two = task.name.partition("@")[0], other.name
    versions = one.startswith(f"{two}-v") or two.startswith(f"{one}-v")
    return versions or bool(_collections(task) & _collections(other))


def _collections(task: TaskSpec) -> set[str]:
    """Return the names of the data of a task."""
    return {task.dataset, str(task.source.get("folder", task.dataset))}


def _joined(run: Run, rows: Sequence[tuple[str, str, float]]) -> Run:
    """Return the run with further results: query, document and score."""
    queries = list(dict.fromkeys([*run.query_ids, *(query for query, _, _ in rows)]))
    documents = list(dict.fromkeys([*run.document_ids, *(name for _, name, _ in rows)]))
    at_query = {name: row for row, name in enumerate(queries)}
    at_document = {name: row for row, name in enumerate(documents)}
    query = np.array([at_query[name] for name, _, _ in rows], dtype=np.int64)
    document = np.array([at_document[name] for _, name, _ in rows], dtype=np.int64)
    score = np.array([score for _, _, score in rows], dtype=run.score.dtype)
    return run._replace(
        query_ids=queries,
        document_ids=documents,
        query=np.append(run.query, query),
        document=np.append(run.document, document),
        score=np.append(run.score, score),
    )


def _core(measure: str, depth: int) -> names.Measure:
    parsed = names.parse(measure)
    if not isinstance(parsed, names.Measure):
        raise ResultsError(f"{measure}: only measures of the core are explained, such as nDCG@10.")
    if (parsed.cutoff or 0) > depth:
        raise ResultsError(f"{measure} needs more than the run's {depth} results.")
    return parsed


def _without(
    qrels: Mapping[str, Mapping[str, int]], judged: Judged
) -> Mapping[str, Mapping[str, int]]:
    """Return the judgements without documents that the source excludes."""
    out = set(judged.excluded_labels)
    if not out:
        return qrels
    return {q: {d: n for d, n in row.items() if n not in out} for q, row in qrels.items()}
