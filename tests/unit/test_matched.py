"""Judging by answers: Accuracy@k, invalid input, and matches cached across runs."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import ir_measures
import numpy as np
import pytest

from rankstone.benchmarks.dataset import Dataset, Judgements
from rankstone.errors import DataError, MeasureError
from rankstone.evaluation import answer_judgements as matched
from rankstone.evaluation.answer_judgements import judge
from rankstone.evaluation.evaluate import evaluate, evaluate_run, qrels_by_answers, qrels_of
from rankstone.results.trec_run import Run
from rankstone.runners.protocols import Hits
from rankstone.specs import TaskSpec
from tests.dpr_rule import has_answer

ACCURACY = ["Accuracy@1", "Accuracy@2", "Accuracy@4"]
PASSAGES = ["born in Ulm", "nothing here", "ULM, 14 March 1879", "Bern", "in 1905 in bern"]
ANSWERS = (("Ulm",), ("Bern", "Zürich"), ("nowhere",))


class Corpus:
    """Corpus that counts reads of passages."""

    def __init__(self) -> None:
        self.reads = 0

    def __len__(self) -> int:
        return len(PASSAGES)

    def ids(self, positions):
        return [f"d{p}" for p in positions.tolist()]

    def positions(self, ids):
        known = [f"d{p}" for p in range(len(PASSAGES))]
        return np.array([known.index(i) if i in known else -1 for i in ids], dtype=np.int64)

    def passages(self, positions):
        self.reads += len(positions)
        return [PASSAGES[p] for p in positions.tolist()]


def dataset(**task: object) -> Dataset:
    spec = {"name": "t/t", "description": "", "loader": "m:f", "dataset": "t/t", "depth": 4}
    empty = np.zeros(0, dtype=np.int64)
    return Dataset(
        task=TaskSpec(**{**spec, "judge": "answers", **task}),
        corpus=Corpus(),
        query_ids=["q0", "q1", "q2"],
        query_texts=["", "", ""],
        judgements=Judgements(query=empty, document=empty, label=empty.astype(np.int32)),
        train_queries=[],
        sha256={"corpus": "c"},
        source="inline",
        self_positions=np.array([-1, -1, -1]),
        n_unknown_documents=0,
        n_unjudged_queries=0,
        answers=ANSWERS,
    )


def hits(docs: list[list[int]]) -> Hits:
    found = np.array(docs, dtype=np.int64)
    scores = np.where(found >= 0, -np.arange(found.shape[1]), -np.inf)
    return Hits(found, scores.astype(np.float32))


HITS = hits([[1, 2, 0, 3], [1, 0, 2, 4], [0, 1, -1, -1]])


def test_accuracy_is_the_share_of_queries_answered_so_far_down() -> None:
    evaluation = evaluate(HITS, dataset(), measures=ACCURACY)
    assert {name: m.mean for name, m in evaluation.measures.items()} == {
        "Accuracy@1": 0,
        "Accuracy@2": pytest.approx(1 / 3),
        "Accuracy@4": pytest.approx(2 / 3),
    }
    assert evaluation.per_query["Accuracy@4"].tolist() == [1, 1, 0]
    assert {m.n for m in evaluation.measures.values()} == {3}
    assert evaluation.queries.n_missing == 0


def test_a_query_without_results_is_not_answered() -> None:
    nothing = hits([[-1] * 4, [-1] * 4, [-1] * 4])
    evaluation = evaluate(nothing, dataset(), measures=ACCURACY)
    assert [m.mean for m in evaluation.measures.values()] == [0, 0, 0]
    assert evaluation.queries.n_missing == 3


def test_ties_bound_the_accuracy() -> None:
    tied = Hits(HITS.docs, np.where(HITS.docs >= 0, np.float32(1), np.float32(-np.inf)))
    measure = evaluate(tied, dataset(), measures=["Accuracy@1"]).measures["Accuracy@1"]
    assert (measure.best, measure.worst) == (pytest.approx(2 / 3), 0)


def test_the_threshold_of_labels_is_ignored() -> None:
    evaluation = evaluate(HITS, dataset(relevance=2), measures=["Accuracy@4"])
    assert evaluation.measures["Accuracy@4"].mean == pytest.approx(2 / 3)


def test_accuracy_is_success_on_matched_passages_in_ir_measures() -> None:
    rng = np.random.default_rng(3)
    docs = np.array([rng.permutation(5)[:4] for _ in range(3)])
    evaluation = evaluate(hits(docs.tolist()), dataset(), measures=ACCURACY)
    qrels = [
        ir_measures.Qrel(f"q{q}", f"d{d}", int(has_answer(PASSAGES[d], ANSWERS[q])))
        for q in range(3)
        for d in range(5)
    ]
    run = [
        ir_measures.ScoredDoc(f"q{q}", f"d{d}", -float(rank))
        for q, row in enumerate(docs)
        for rank, d in enumerate(row)
    ]
    for cutoff in (1, 2, 4):
        found = ir_measures.calc_aggregate([ir_measures.Success @ cutoff], qrels, run)
        mean = evaluation.measures[f"Accuracy@{cutoff}"].mean
        assert mean == pytest.approx(found[ir_measures.Success @ cutoff])


@pytest.mark.parametrize("name", ["nDCG@2", "R@2", "RR", "Success@2", "AP", "SetP"])
def test_measures_of_judgements_are_refused_where_answers_judge(name: str) -> None:
    with pytest.raises(MeasureError, match=r"needs relevance judgements.*Use Accuracy@20"):
        evaluate(HITS, dataset(), measures=[name])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Accuracy", "needs a cutoff"),
        ("Accuracy(rel=2)@2", "has no parameter 'rel'"),
        ("Accuracy@5", "needs 5 results"),
    ],
)
def test_an_accuracy_that_is_none(name: str, message: str) -> None:
    with pytest.raises(MeasureError, match=message):
        evaluate(HITS, dataset(), measures=[name])


def test_accuracy_is_refused_where_judgements_judge() -> None:
    with pytest.raises(MeasureError, match=r'judge = "answers".*use Success'):
        evaluate(HITS, dataset(judge="judgements"), measures=["Accuracy@2"])
    with pytest.raises(MeasureError, match=r'judge = "answers"'):
        judge(HITS.docs, replace(dataset(), answers=None))


def lines_of(rows: dict[str, list[str]]) -> Run:
    """Return a run with these documents, best first."""
    found = [(query, document) for query, row in rows.items() for document in row]
    queries, documents = list(rows), list(dict.fromkeys(document for _, document in found))
    return Run(
        query_ids=queries,
        document_ids=documents,
        query=np.array([queries.index(query) for query, _ in found], dtype=np.int64),
        document=np.array([documents.index(document) for _, document in found], dtype=np.int64),
        score=-np.arange(len(found), dtype=np.float32),
    )


def test_a_run_of_ids_is_judged_the_same(tmp_path: Path) -> None:
    data = dataset()
    rows = zip(data.query_ids, HITS.docs.tolist(), strict=True)
    run = lines_of({query: [f"d{d}" for d in row if d >= 0] for query, row in rows})
    qrels = qrels_by_answers(run, data, tmp_path)
    assert qrels == {"q0": {"d0": 1, "d2": 1}, "q1": {"d4": 1}, "q2": {}}
    again = evaluate_run(run, qrels, measures=ACCURACY, depth=4, judge="answers")
    assert again.measures == evaluate(HITS, data, measures=ACCURACY).measures


def test_a_run_of_ids_may_name_what_the_corpus_does_not_hold() -> None:
    run = lines_of({"q0": ["d9", "d0"], "other": ["d0"]})
    qrels = qrels_by_answers(run, dataset())
    assert qrels == {"q0": {"d0": 1}, "q1": {}, "q2": {}}
    first = evaluate_run(run, qrels, measures=["Accuracy@1"], depth=4, judge="answers")
    assert first.measures["Accuracy@1"].mean == 0
    assert qrels_by_answers(lines_of({}), dataset()) == {"q0": {}, "q1": {}, "q2": {}}


def test_there_are_no_judgements_apart_from_a_run() -> None:
    with pytest.raises(MeasureError, match="qrels_by_answers"):
        qrels_of(dataset())


def test_judgements_are_sorted_and_of_label_one() -> None:
    held = judge(HITS.docs, dataset())
    assert held.query.tolist() == [0, 0, 1]
    assert held.document.tolist() == [0, 2, 4]
    assert (held.label.tolist(), held.label.dtype) == ([1, 1, 1], np.int32)


def kept(folder: Path) -> list[Path]:
    return sorted((folder / "answers").iterdir())


def test_a_pair_is_matched_once(tmp_path: Path) -> None:
    data = dataset()
    first = evaluate(HITS, data, measures=ACCURACY, cache=tmp_path)
    assert data.corpus.reads == 5
    assert evaluate(HITS, data, measures=ACCURACY, cache=tmp_path).measures == first.measures
    assert data.corpus.reads == 5
    more = hits([[1, 2, 0, 4], [1, 0, 2, 3], [0, 1, 2, -1]])
    fresh = evaluate(more, dataset(), measures=ACCURACY)
    assert evaluate(more, data, measures=ACCURACY, cache=tmp_path).measures == fresh.measures
    assert data.corpus.reads == 5 + 3, "the new pairs are of the passages 2, 3 and 4"
    assert len(kept(tmp_path)) == 1
    evaluate(HITS, data, measures=ACCURACY, cache=tmp_path)
    assert data.corpus.reads == 8, "and the old ones are still known"


@pytest.mark.parametrize(
    "change",
    [
        {"sha256": {"corpus": "another"}},
        {"answers": (("Ulm",), ("Bern", "Zurich"), ("nowhere",))},
        {"answers": (("Ulm",), ("Bern",), ("Zürich", "nowhere"))},
    ],
)
def test_other_passages_or_answers_have_another_file(tmp_path: Path, change) -> None:
    judge(HITS.docs, dataset(), tmp_path)
    data = replace(dataset(), **change)
    judge(HITS.docs, data, tmp_path)
    assert data.corpus.reads == 5
    assert len(kept(tmp_path)) == 2


def test_another_matcher_has_another_file(tmp_path: Path, monkeypatch) -> None:
    judge(HITS.docs, dataset(), tmp_path)
    monkeypatch.setattr(matched, "MATCHER", "DPR 0")
    judge(HITS.docs, dataset(), tmp_path)
    assert len(kept(tmp_path)) == 2


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "grow", "digest"])
def test_a_damaged_file_is_created_again(tmp_path: Path, damage: str) -> None:
    first = judge(HITS.docs, dataset(), tmp_path)
    (file,) = kept(tmp_path)
    good = file.read_bytes()
    bad = {
        "flip": good[:-8] + bytes([good[-8] ^ 1]) + good[-7:],
        "cut": good[:-5],
        "empty": b"",
        "grow": good + bytes(8),
        "digest": bytes([good[0] ^ 1]) + good[1:],
    }[damage]
    file.write_bytes(bad)
    data = dataset()
    again = judge(HITS.docs, data, tmp_path)
    assert again.document.tolist() == first.document.tolist()
    assert data.corpus.reads == 5
    assert file.read_bytes() == good


def test_nothing_is_kept_without_a_folder(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    judge(HITS.docs, dataset())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "answers").write_text("a file in its place")
    with pytest.raises(DataError, match=r"cannot be stored.*--cache"):
        judge(HITS.docs, dataset(), tmp_path)


def test_concurrent_additions_of_another_process_are_kept(tmp_path: Path, monkeypatch) -> None:
    """Between reading and writing the file, another process matches other pairs."""
    match = matched.match
    others = hits([[4, -1, -1, -1], [3, -1, -1, -1], [2, -1, -1, -1]])

    def while_another(*arguments):
        monkeypatch.setattr(matched, "match", match)
        judge(others.docs, dataset(), tmp_path)
        return match(*arguments)

    monkeypatch.setattr(matched, "match", while_another)
    judge(HITS.docs, dataset(), tmp_path)
    data = dataset()
    judge(HITS.docs, data, tmp_path)
    judge(others.docs, data, tmp_path)
    assert data.corpus.reads == 0


WRITER = """
import importlib.util, sys
import numpy as np
from pathlib import Path
spec = importlib.util.spec_from_file_location("t", sys.argv[1])
t = importlib.util.module_from_spec(spec)
spec.loader.exec_module(t)
rng = np.random.default_rng(int(sys.argv[3]))
for _ in range(40):
    docs = np.array([rng.permutation(5)[:2] for _ in range(3)])
    got = t.judge(docs, t.dataset(), Path(sys.argv[2]))
    assert got.document.tolist() == t.judge(docs, t.dataset()).document.tolist()
"""


def test_processes_may_write_at_the_same_time(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, __file__, str(tmp_path)]
    running = [subprocess.Popen([*command, str(seed)]) for seed in (1, 2)]
    assert [process.wait() for process in running] == [0, 0]
    assert [path.name for path in kept(tmp_path) if path.name.startswith(".")] == []
    whole = hits([[0, 1, 2, 3], [1, 2, 3, 4], [0, 1, 2, 3]])
    assert judge(whole.docs, dataset(), tmp_path).document.tolist() == [0, 2, 3, 4]


def test_answers_without_a_token_are_warned_about() -> None:
    data = replace(dataset(), answers=(("Ulm",), ("", "\u200b"), ("nowhere",)))
    with pytest.warns(UserWarning, match="2 answers have no visible character"):
        held = judge(HITS.docs, data)
    assert held.query.tolist() == [0, 0, 1, 1, 1, 1], "every passage holds them"
