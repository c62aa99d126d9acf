"""Opening a task judged by answers: its queries and digests."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from rankstone.benchmarks.dataset import Dataset, Sources
from rankstone.benchmarks.stats import statistics
from rankstone.benchmarks.store import open_dataset, verify_dataset
from rankstone.cli.data_view import figures as show
from rankstone.errors import DataError
from rankstone.leaderboards.formats.render import render
from rankstone.specs import TaskSpec

CORPUS = [
    {"_id": "d1", "title": "Ulm", "text": "on the Danube"},
    {"_id": "q2", "title": "", "text": "in Bern"},
]
QUERIES = [
    {"_id": "q1", "text": "where?", "metadata": {"answers": ["Ulm", "Bern", 'the "city"']}},
    {"_id": "q2", "text": "who?", "metadata": {"answers": ["Ärzte\u0000"], "other": 1}},
    {"_id": "q3", "text": "unjudged?", "metadata": {"answers": [""]}},
]
QRELS = "query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td1\t1\n"


def write(root: Path, queries: list[dict[str, object]]) -> None:
    folder = root / "data/b/c"
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, CORPUS)))
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)))
    (folder / "qrels/test.tsv").write_text(QRELS)


def opened(root: Path, **changes: object) -> Dataset:
    return open_dataset(task(**changes), Sources(data=root / "data", cache=root / "cache"))


def task(**changes: object) -> TaskSpec:
    values = {
        "name": "b/c",
        "description": "",
        "dataset": "b/c",
        "loader": "beir",
        "judge": "answers",
        **changes,
    }
    return TaskSpec(**values)


def test_every_query_is_asked_with_its_answers(tmp_path: Path) -> None:
    write(tmp_path, QUERIES)
    data = opened(tmp_path)
    assert data.query_ids == ("q1", "q2", "q3")
    assert data.answers == (("Ulm", "Bern", 'the "city"'), ("Ärzte\0",), ("",))
    assert [len(part) for part in vars(data.judgements).values()] == [0, 0, 0]
    assert [part.dtype.name for part in vars(data.judgements).values()] == [
        "int64",
        "int64",
        "int32",
    ]
    assert data.self_positions.tolist() == [-1, 1, -1]
    assert (data.n_unjudged_queries, data.n_unknown_documents, data.warnings) == (0, 0, ())
    sources = Sources(data=tmp_path / "data", cache=tmp_path / "cache")
    assert verify_dataset(task(), sources) == data.sha256


def test_a_task_judged_by_judgements_has_no_answers_and_its_old_digests(tmp_path: Path) -> None:
    write(tmp_path, QUERIES)
    with_answers = opened(tmp_path, judge="judgements")
    assert with_answers.answers is None
    assert with_answers.query_ids == ("q1", "q2")
    write(tmp_path, [{"_id": q["_id"], "text": q["text"]} for q in QUERIES])
    assert opened(tmp_path, judge="judgements").sha256 == with_answers.sha256


def test_the_answers_have_the_digest_of_the_judgements(tmp_path: Path) -> None:
    write(tmp_path, QUERIES)
    first = opened(tmp_path)
    assert opened(tmp_path, sha256=first.sha256).sha256 == first.sha256
    write(tmp_path, QUERIES[::-1])
    assert opened(tmp_path).sha256 == first.sha256, "the order of lines is not content"
    split = {"_id": "q1", "text": "where?", "metadata": {"answers": ["Ulm, Bern", 'the "city"']}}
    write(tmp_path, [split, *QUERIES[1:]])
    changed = opened(tmp_path).sha256
    assert {part for part in changed if changed[part] != first.sha256[part]} == {"judgements"}


def test_a_task_of_the_first_queries_has_other_judgements(tmp_path: Path) -> None:
    write(tmp_path, QUERIES)
    data = open_dataset(
        task().limited(queries=2), Sources(data=tmp_path / "data", cache=tmp_path / "cache")
    )
    assert (data.query_ids, len(data.answers or ())) == (("q1", "q2"), 2)
    assert data.sha256["judgements"] != opened(tmp_path).sha256["judgements"]


@pytest.mark.parametrize(
    "metadata",
    [None, "Ulm", {}, {"answers": []}, {"answers": "Ulm"}, {"answers": ["Ulm", 1]}, ["Ulm"]],
)
def test_a_query_without_answers_is_named(tmp_path: Path, metadata: object) -> None:
    write(tmp_path, [*QUERIES, {"_id": "q4", "text": "what?", "metadata": metadata}])
    assert opened(tmp_path, judge="judgements").query_ids == ("q1", "q2")
    with pytest.raises(DataError, match=r"1 queries have no answers.*queries\.jsonl, line 4"):
        opened(tmp_path)
    assert not list((tmp_path / "cache").rglob("*.tmp-*"))


def test_lone_surrogates_are_replaced_in_answers_as_in_passages(tmp_path: Path) -> None:
    write(tmp_path, [{"_id": "q1", "text": "?", "metadata": {"answers": ["a\ud800b", "😀"]}}])
    data = opened(tmp_path)
    assert data.answers == (("a\ufffdb", "😀"),)
    assert "1 values of the queries held lone surrogates" in data.warnings[0]


def test_training_queries_are_those_of_a_split_as_ever(tmp_path: Path) -> None:
    write(tmp_path, QUERIES)
    data = opened(tmp_path, train_split="test")
    assert list(data.train_queries) == []
    assert "2 queries of 'test' are also in" in data.warnings[-1]


def test_statistics_leave_out_what_only_judgements_have(tmp_path: Path) -> None:
    write(tmp_path, QUERIES)
    answers, judged = (statistics(opened(tmp_path, judge=j)) for j in ("answers", "judgements"))
    assert (answers.labels, answers.judgements_per_query) == ((), None)
    assert (answers.n_queries_without_relevant, judged.n_queries_without_relevant) == (None, 0)
    shown, told = (render(show(one), width=200) for one in (answers, judged))
    assert (answers.n_unknown_documents, answers.n_unjudged_queries) == (None, None)
    assert "judged by answers" in shown
    assert "judged by answers" not in told
    for words in (
        "label",
        "queries without a relevant document",
        "queries without judgement",
        "judgements of documents",
        "judgements per query",
    ):
        assert words not in shown
        assert words in told


def test_passages_have_no_title_and_positions_are_found_by_id(tmp_path: Path) -> None:
    write(tmp_path, QUERIES)
    corpus = opened(tmp_path).corpus
    assert corpus.texts(0, 2) == ["Ulm on the Danube", "in Bern"]
    assert corpus.passages(np.array([1, 0, 1])) == ["in Bern", "on the Danube", "in Bern"]
    assert corpus.positions(["q2", "d1", "nowhere", "q2"]).tolist() == [1, 0, -1, 1]
    assert corpus.positions([]).tolist() == []
