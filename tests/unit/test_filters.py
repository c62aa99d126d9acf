"""Tasks with a filter: passing documents, judgements, and selected queries."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rankstone.benchmarks.dataset import Dataset, Sources
from rankstone.benchmarks.store import open_dataset
from rankstone.errors import DataError, DefinitionError
from rankstone.execution.cell import CellRun
from rankstone.execution.cluster.parcels import Prepared
from rankstone.execution.events import EventStream
from rankstone.execution.job import Job
from rankstone.results.record import Filter
from rankstone.results.trec_run import read_run
from rankstone.specs import TaskSpec, load_family
from rankstone.workspace import Workspace

ROOT = Path(__file__).parents[2]

CORPUS = [
    {"_id": "d1", "title": "A", "text": "one two", "metadata": {"year": 2010, "kind": "web"}},
    {"_id": "d2", "text": "one two three", "metadata": {"year": 2016.5, "mixed": "x"}},
    {"_id": "d3", "title": " ", "text": "  ", "metadata": {"year": None, "mixed": 1, "tags": []}},
    {"_id": "d4", "title": "D", "text": "four", "metadata": "none"},
    {"_id": "d5", "title": "E", "text": "a b c d", "metadata": {"year": 2020, "kind": "news"}},
]
QRELS = "q1 0 d1 1\nq1 0 d5 2\nq2 0 d2 1\nq2 0 d5 0\nq3 0 d1 1\nq3 0 gone 1\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    data = tmp_path / "data" / "tiny"
    (data / "qrels").mkdir(parents=True)
    (data / "corpus.jsonl").write_text("\n".join(map(json.dumps, CORPUS)))
    queries = ({"_id": f"q{n}", "text": f"query {n}"} for n in (1, 2, 3))
    (data / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)))
    (data / "qrels" / "test.tsv").write_text(QRELS)
    return tmp_path


def opened(folder: Path, filter: str | dict[str, str], **keys: object) -> Dataset:
    task = TaskSpec(name="t/tiny", description="", loader="beir", dataset="tiny", filter=filter)
    sources = Sources(data=folder / "data", cache=folder / "cache")
    return open_dataset(task.model_copy(update=keys), sources)


def judged(data: Dataset) -> set[tuple[str, str, int]]:
    assert (data.judgements.document >= 0).all()
    names = data.corpus.ids(data.judgements.document)
    asked = [data.query_ids[row] for row in data.judgements.query]
    return set(zip(asked, names, data.judgements.label.tolist(), strict=True))


def passing(data: Dataset, row: int = 0) -> list[str]:
    assert data.filters is not None
    where = data.filters.wheres[row]
    assert where is not None
    return data.corpus.ids(np.flatnonzero(where.passes))


@pytest.mark.parametrize(
    ("filter", "documents"),
    [
        ("year >= 2016", ["d2", "d5"]),
        ('year < 2016 or kind in ["news"]', ["d1", "d5"]),
        ("words >= 3", ["d2", "d5"]),
        ("characters <= 7 and has_title", ["d1", "d4", "d5"]),
        ("not has_title", ["d2", "d3"]),
    ],
)
def test_columns_are_derived_or_the_users_own(
    folder: Path, filter: str, documents: list[str]
) -> None:
    assert passing(opened(folder, filter)) == documents


def test_only_passing_documents_are_judged_and_queries_without_any_are_dropped(
    folder: Path,
) -> None:
    data = opened(folder, "year >= 2016")
    assert data.query_ids == ("q1", "q2")
    assert judged(data) == {("q1", "d5", 2), ("q2", "d2", 1), ("q2", "d5", 0)}
    assert data.n_unknown_documents == 0
    assert data.filters is not None
    assert (data.filters.n_unjudged, data.filters.shares) == (1, [0.4, 0.4])
    assert list(data.filters.columns) == ["year"]
    assert [w for w in data.warnings if "1 queries have no judged document that passes" in w]
    assert opened(folder, "year >= 2016", limit_queries=1).query_ids == ("q1",)
    assert opened(folder, 'kind == "web"').query_ids == ("q1", "q3")


def test_each_query_may_have_its_own_filter(folder: Path) -> None:
    data = opened(folder, {"q1": "year < 2015", "q3": "words == 4"})
    assert data.query_ids == ("q1", "q2")
    assert judged(data) == {("q1", "d1", 1), ("q2", "d2", 1), ("q2", "d5", 0)}
    assert data.filters is not None
    assert data.filters.wheres[1] is None
    assert data.filters.shares == [0.2, 1.0]


def test_the_passing_documents_are_part_of_the_data_digest(folder: Path) -> None:
    plain, first = opened(folder, ""), opened(folder, "year >= 2016")
    assert plain.filters is None
    assert len(plain.judgements.query) == 6
    assert {"filter"} == first.sha256.keys() - plain.sha256.keys()
    assert opened(folder, "year >= 2017").sha256 != first.sha256
    path = folder / "data" / "tiny" / "corpus.jsonl"
    path.write_text(path.read_text().replace("2016.5", "2009.5"))
    assert opened(folder, "year >= 2016").sha256["filter"] != first.sha256["filter"]


def test_faults_are_named(folder: Path) -> None:
    with pytest.raises(DataError, match=r"no column 'yeer'.*characters, has_title, kind, words"):
        opened(folder, "yeer > 1")
    with pytest.raises(DataError, match="'mixed' is left out: its values are of several types"):
        opened(folder, "mixed == 1")
    with pytest.raises(DataError, match="'q9' is not the id of a judged query"):
        opened(folder, {"q9": "year > 1"})
    with pytest.raises(DataError, match="no query has a judged document that passes"):
        opened(folder, "words == 1")
    toml = folder / "mine.toml"
    toml.write_text('[tasks.x]\ndescription = "x"\nloader = "beir"\nfilter = "year >"\n')
    with pytest.raises(DefinitionError, match=r"mine\.toml(.|\n)*filter 'year >'"):
        load_family(toml)


def test_a_task_without_a_filter_keeps_its_digest() -> None:
    task = TaskSpec(name="t/tiny", description="", loader="beir", dataset="tiny")
    assert "filter" not in task._digested()
    assert task.model_copy(update={"filter": "words > 3"}).digest() != task.digest()


@pytest.mark.parametrize(("method", "how"), [("bm25", "after"), ("engines/bm25-tantivy", "native")])
def test_a_cell_finds_only_passing_documents_and_records_the_filter(
    folder: Path, method: str, how: str, tmp_path: Path
) -> None:
    if how == "native":
        pytest.importorskip("tantivy", reason="needs the extra 'engines'")
    task = TaskSpec(
        name="t/tiny", description="", loader="beir", dataset="tiny", filter="words >= 2", depth=2
    )
    task = task.model_copy(update={"measures": ("nDCG@2",), "headline": "nDCG@2"})
    (tmp_path / "staging").mkdir()
    job = Job(
        method=Workspace.find(ROOT).method(method), task=task, data=folder / "data", threads=1,
        cache=folder / "cache", staging=tmp_path / "staging", workspace=ROOT,
    )  # fmt: skip
    queries = folder / "data" / "tiny" / "queries.jsonl"
    queries.write_text(queries.read_text().replace("query", "one two a b c d"))
    measured = CellRun(job, EventStream(os.open(os.devnull, os.O_WRONLY))).run()
    found = measured.profile.filter
    assert found == Filter(
        how=how, predicate="words >= 2", selectivity=0.6, least=0.6, most=0.6, not_asked=0,
        without_relevant=0,
    )  # type: ignore[arg-type] # fmt: skip
    run = read_run(tmp_path / "staging" / "run.trec.zst")
    assert set(run.document_ids) <= {"d1", "d2", "d5"}
    assert np.bincount(run.query).tolist() == [2, 2, 2]
    assert measured.queries is not None
    assert measured.queries.n == 3


def test_columns_travel_to_other_machines(folder: Path) -> None:
    data = opened(folder, "year >= 2016")
    sources = Sources(data=folder / "data", cache=folder / "cache")
    prepared = Prepared.of(data.task, sources)
    assert [path.name for path in prepared.files.values() if path.parent.name == "columns"] == [
        "columns.arrow", "meta.json",
    ]  # fmt: skip
    there = open_dataset(data.task, replace(sources, data=None, prepared=prepared.facts))
    assert there.sha256 == data.sha256
