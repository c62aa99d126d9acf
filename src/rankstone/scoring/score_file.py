"""Scoring of run files from other tools, stored like runs of a runner."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from rankstone.errors import ResultsError
from rankstone.evaluation import measure_names as names
from rankstone.evaluation.evaluate import Evaluation, evaluate_run
from rankstone.files import sha256_of
from rankstone.profiling.machine import environment
from rankstone.results.per_query import write_per_query
from rankstone.results.record import MethodInfo, Policy, Provenance, RunRecord, now, printable
from rankstone.results.side_files import SCORED
from rankstone.results.store import ResultStore, Staged
from rankstone.results.trec_run import Run, write_run
from rankstone.scoring.task_qrels import Judged
from rankstone.specs import canonical_digest
from rankstone.text_files import plain_name

ADAPTER = "run file"
"""`MethodInfo.adapter` of a record that was not made by a runner."""
_ENDINGS = re.compile(r"\.(trec|run|res|txt|tsv)$", re.IGNORECASE)


def score_file(
    path: Path,
    judged: Judged,
    store: ResultStore,
    *,
    name: str | None = None,
    command: Sequence[str] = (),
    workspace: Path | None = None,
) -> RunRecord:
    """Score the run file at `path` under the task's rules and store a record without profile.

    The depth is that of the deepest list; measures with larger cutoffs are omitted, with a warning.

    Raises:
        ResultsError: the file cannot be read, has no query of the task, or is too shallow for every
            measure; or the record cannot be written.
    """
    started = now()
    run = judged.read(path)
    facts = _Facts(run, judged, path)
    task, depth = judged.task, facts.depth
    evaluation = evaluate_run(
        run,
        judged.qrels_for(run),
        measures=facts.measures,
        depth=depth,
        relevance=task.relevance,
        drop_self=task.self_hits == "drop",
        excluded_labels=judged.excluded_labels,
        method=str(path),
        judge=task.judge,
    )
    method = method_of(path, name)
    rules = Policy.of(task).model_copy(update={"depth": depth})
    record = RunRecord(
        status="ok",
        key=_key(judged, method, rules),
        task=judged.info,
        method=method,
        policy=rules,
        measures=evaluation.measures,
        queries=evaluation.queries,
        environment=environment(threads=None, seed=None, command=command, workspace=workspace),
        provenance=Provenance(started=started, finished=now()),
        warnings=[
            *judged.warnings,
            *(f"{path.name}: {fault}" for fault in facts.faults(evaluation.queries.n_missing)),
        ],
    )
    if judged.dataset is not None:
        judged.dataset.unchanged()
    with tempfile.TemporaryDirectory(prefix="rankstone-") as folder:
        return store.write(record, _staged(Path(folder), evaluation, run, method.name))


def method_of(path: Path, name: str | None) -> MethodInfo:
    """Return the run file as a method, by default `runs/<file name without suffixes>`."""
    digest, named = sha256_of(path), name or default_name(path)
    if not printable(named):
        raise ResultsError(
            f"{path}: {named!r} cannot name a method: it holds control characters or ends of"
            " lines. Name it: --name NAME"
        )
    return MethodInfo(
        name=named,
        digest=canonical_digest({"run": digest}),
        adapter=ADAPTER,
        parameters={"file": path.name, "sha256": digest},
    )


def default_name(path: Path) -> str:
    """Return the name of the method of a run file that gets no other."""
    return f"{SCORED}{_ENDINGS.sub('', plain_name(path.name))}"


class _Facts:
    """A run compared with its task: depth, measures, unknown ids."""

    def __init__(self, run: Run, judged: Judged, path: Path) -> None:
        self._run, self._judged = run, judged
        if not run.query_ids:
            raise ResultsError(f"{path}: is empty: it holds no results. Name another file.")
        known = np.array([query in judged.qrels for query in run.query_ids], dtype=np.bool_)
        self._unknown = [query for query in run.query_ids if query not in judged.qrels]
        if not known.any():
            raise ResultsError(
                f"{path}: none of its {len(run.query_ids)} queries is judged in {judged.task.name}."
                " Name the task of the run: --on TASK"
            )
        self._lengths = self._counts()[known]
        self.depth = self._depth()
        self.measures = [m for m in judged.task.measures if not self._too_deep(m)]
        if not self.measures:
            raise ResultsError(
                f"{path}: it holds {self.depth} results per query, fewer than every measure of"
                f" {judged.task.name} needs. Retrieve more."
            )

    def _counts(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Return the results per query of the run, without self hits and excluded documents."""
        run = self._run
        counts = np.bincount(run.query, minlength=len(run.query_ids)).astype(np.int64)
        dropped = list(self._dropped())
        if dropped:
            width = len(run.document_ids)
            pairs = np.array([query * width + document for query, document in dropped])
            lost = np.isin(run.query * width + run.document, pairs)
            counts -= np.bincount(run.query[lost], minlength=len(counts))
        return counts

    def _dropped(self) -> Iterator[tuple[int, int]]:
        """Yield query and document, by their positions in the run, of results that do not count."""
        run, judged = self._run, self._judged
        if judged.task.self_hits == "keep" and not judged.excluded_labels:
            return
        rows = {document: row for row, document in enumerate(run.document_ids)}
        for query, name in enumerate(run.query_ids):
            labels = judged.qrels.get(name, {}).items()
            out = {d for d, label in labels if label in judged.excluded_labels}
            out |= {name} if judged.task.self_hits == "drop" else set()
            yield from ((query, rows[document]) for document in out & rows.keys())

    def _depth(self) -> int:
        """Return the length of the deepest list, at most the task's depth.

        It is the task's depth if a list contains the whole corpus.
        """
        task, dataset = self._judged.task, self._judged.dataset
        deepest = int(self._lengths.max())
        if deepest >= task.depth:
            return task.depth
        whole = dataset is not None and deepest >= len(dataset.corpus) - dataset.spare
        return task.depth if whole else max(deepest, 1)

    def _too_deep(self, measure: str) -> bool:
        cutoff = names.parse(measure).cutoff
        return cutoff is not None and cutoff > self.depth

    def faults(self, n_missing: int) -> Iterator[str]:
        """Yield a message for each irregularity."""
        task, run = self._judged.task, self._run
        if self._unknown:
            n, example = len(self._unknown), _example(self._unknown)
            yield f"{n} of its queries are not judged and are left out, such as {example}"
        if n_missing:
            yield f"{n_missing} judged queries have no results and score 0"
        if run.contradicted:
            yield (
                f"the ranks of {len(run.contradicted)} queries, such as '{run.contradicted[0]}',"
                " contradict their scores; the scores decide, as in trec_eval"
            )
        yield from self._unlisted()
        if self._judged.dataset is not None:
            positions = self._judged.dataset.corpus.positions(run.document_ids)
            if n := int((positions < 0).sum()):
                yield (
                    f"{n} of its documents are not in the corpus and count as not relevant, such as"
                    f" '{run.document_ids[int(np.argmin(positions))]}'"
                )
        if (deepest := int(self._lengths.max())) > task.depth:
            yield f"lists of up to {deepest} results are truncated to the task's {task.depth}"
        if left_out := ", ".join(m for m in task.measures if self._too_deep(m)):
            yield f"left out {left_out}: the deepest list holds {self.depth} results"
        whole = ", ".join(m for m in self.measures if names.parse(m).cutoff is None)
        if whole and self.depth != task.depth:
            yield f"{whole}: of {self.depth} results per query; the task's depth is {task.depth}"

    def _unlisted(self) -> Iterator[str]:
        """For a task without a corpus, name the relevant documents that are in no list: their ids
        may be spelt differently."""
        if self._judged.dataset is not None:
            return
        least = self._judged.task.relevance
        judged = [pair for labels in self._judged.qrels.values() for pair in labels.items()]
        relevant = {document for document, label in judged if label >= least}
        missing = relevant.difference(self._run.document_ids)
        if missing:
            yield (
                f"{len(missing)} of {len(relevant)} relevant documents are in no list, such as"
                f" {_example(missing)}"
            )


def _example(ids: Iterable[str]) -> str:
    """Return one of the ids, quoted; an id with invisible characters is preferred and escaped."""
    return repr(min(ids, key=lambda id: (id.isprintable(), id)))


def _key(judged: Judged, method: MethodInfo, rules: Policy) -> str:
    body = {"task": judged.info.digest, "data": judged.info.sha256, "method": method.digest}
    return canonical_digest({**body, "policy": rules.model_dump(mode="json")})


def _staged(folder: Path, evaluation: Evaluation, run: Run, tag: str) -> Staged:
    staged = Staged(run=folder / "run.trec.zst", per_query=folder / "per_query.parquet")
    ranking = evaluation.ranking
    write_per_query(folder / "per_query.parquet", evaluation.query_ids, evaluation.per_query)
    write_run(
        folder / "run.trec.zst",
        evaluation.query_ids,
        ranking.docs,
        ranking.scores,
        lambda positions: [run.document_ids[position] for position in positions.tolist()],
        tag=tag,
    )
    return staged
