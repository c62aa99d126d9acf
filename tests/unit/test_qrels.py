"""Judgements without a corpus, and commands that refuse them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rankstone.benchmarks.dataset import RawJudgements, Sources
from rankstone.benchmarks.judgements import JudgedQueries, judged_queries
from rankstone.benchmarks.store import ask_loader, open_dataset
from rankstone.errors import DataError, DefinitionError
from rankstone.evaluation.evaluate import qrels_of
from rankstone.specs import Counts, TaskSpec

QRELS = "query-id\tcorpus-id\tscore\nq2\td 3\t-1\nq1\td2\t2\nq1\td1\t0\n"


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    folder = tmp_path / "data" / "toy" / "one"
    (folder / "qrels").mkdir(parents=True)
    ids = ("d1", "d2", "d 3")
    documents = [f'{{"_id": "{d}", "text": "t"}}\n' for d in ids]
    (folder / "corpus.jsonl").write_text("".join(documents))
    (folder / "queries.jsonl").write_text('{"_id": "q1", "text": "?"}\n{"_id": "q2", "text": "?"}')
    (folder / "qrels" / "test.tsv").write_text(QRELS)
    return Sources(data=tmp_path / "data", cache=tmp_path / "cache")


def task(**changes: object) -> TaskSpec:
    values = {
        "name": "toy/judged",
        "description": "",
        "loader": "qrels",
        "source": {"folder": "toy/one"},
        "dataset": "toy/judged",
        **changes,
    }
    return TaskSpec(**values)


def judged(spec: TaskSpec, sources: Sources) -> JudgedQueries:
    raw = ask_loader(spec, sources)
    assert isinstance(raw, RawJudgements)
    return judged_queries(spec, raw)


def test_they_are_those_of_the_data_set_with_the_same_digest(sources: Sources) -> None:
    found = judged(task(), sources)
    assert found.qrels == {"q2": {"d 3": -1}, "q1": {"d2": 2, "d1": 0}}
    assert found.warnings == ()
    whole = task(loader="beir", dataset="toy/one", source={})
    dataset = open_dataset(whole, sources)
    assert qrels_of(dataset) == found.qrels
    assert dataset.sha256["judgements"] == found.sha256["judgements"]
    assert dataset.corpus.positions(["d 3", "gone", "d1"]).tolist() == [2, -1, 0]
    assert dataset.corpus.positions([]).dtype == np.int64


def test_one_file_in_trec_form_and_a_limit(sources: Sources, tmp_path: Path) -> None:
    file = tmp_path / "some.qrels"
    file.write_text("q1 0 d1 1\nq2 0 d1 1\nq1 0 d1 1\n")
    found = judged(task(source={"file": str(file)}, limit_queries=1), sources)
    assert found.qrels == {"q1": {"d1": 1}}
    assert found.source == str(file)
    assert "1 judgements are repeated" in found.warnings[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("q1 0 d1 1\nq1 0 d1 2\n", "query 'q1' and document 'd1' are judged 1 and 2"),
        ("\n", "holds no judgements"),
        ("q1 0 d1 much\n", "line 1: the score must be an integer"),
    ],
)
def test_faults_are_named(sources: Sources, tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "some.qrels"
    file.write_text(text)
    with pytest.raises(DataError, match=words):
        judged(task(source={"file": str(file)}), sources)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"split": "tset"}, "no judgements for the split 'tset'. Did you mean: test?"),
        ({"counts": Counts(judgements=4)}, "expected 4 judgements, found 3"),
        ({"sha256": {"judgements": "0" * 64}}, "expected the judgements with sha256 000"),
        ({"source": {"file": "nowhere.txt"}}, "there is no file nowhere.txt"),
        ({"source": {"folder": "toy/two"}}, "no data found"),
    ],
)
def test_data_that_contradicts_the_task_is_refused(
    sources: Sources, changes: dict[str, object], words: str
) -> None:
    with pytest.raises(DataError) as told:
        judged(task(**changes), sources)
    assert words in str(told.value)


@pytest.mark.parametrize("source", [{}, {"file": "a", "folder": "b"}])
def test_a_source_is_a_folder_or_a_file(sources: Sources, source: dict[str, str]) -> None:
    with pytest.raises(DefinitionError, match="one of 'folder', 'file' and 'irds_id'"):
        judged(task(source=source), sources)


def test_no_method_runs_on_them(sources: Sources) -> None:
    with pytest.raises(DataError, match="rankstone score RUN --on toy/judged"):
        open_dataset(task(), sources)
