"""Runs on collections without definitions, with ids that TREC files cannot represent."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import pytest

import rankstone
from rankstone.benchmarks.recorded_tasks import recorded_task
from rankstone.benchmarks.task_names import task_of
from rankstone.errors import DefinitionError, ResultsError
from rankstone.results.trec_run import read_run
from rankstone.session import Session
from tests.beir_layout import write_beir

pytestmark = pytest.mark.usefixtures("forked_cells")

DOCUMENTS = {"a b": "the quick fox", "em\u2003space": "a lazy dog", " lead": "some grey bird"}
QUERIES = {"q 1": "quick fox", "q\u00a02": "lazy dog"}
RELEVANT = [("q 1", "a b"), ("q\u00a02", "em\u2003space")]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("RANKSTONE_DATA", "RANKSTONE_CACHE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def run(here: Path, name: str, results: Path | None = None, **cuts: int) -> rankstone.RunRecord:
    folders = {"cache": here / "cache", "results": results or here / "results"}
    (record,) = rankstone.run("bm25", name, **folders, **cuts)
    assert record.error is None
    return record


def check_again(here: Path, record: rankstone.RunRecord, session: Session | None = None) -> None:
    """`verify` and `show --as` find a task without a definition from its record alone."""
    session = session or Session(cache=here / "cache", results=here / "results")
    path = session.store.path(record)
    assert session.verify(record, path) == []
    rows = {r.measure: r for r in session.compare_rules(record, path, "beir")}
    assert rows["RR@10"].ours == record.measures["RR@10"].mean


def lines(rows: dict[str, str]) -> str:
    return "".join(json.dumps({"_id": key, "text": text}) + "\n" for key, text in rows.items())


def test_a_folder_whose_ids_hold_white_space(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_beir(here / "mine", DOCUMENTS, QUERIES, test=RELEVANT, dev=RELEVANT)
    record = run(here, "./mine")
    assert record.measures["RR@10"].mean == 1.0
    assert record.task.source == str(here / "mine")
    (path,) = (here / "results").rglob("*.run.zst")
    found = read_run(path, known=[*DOCUMENTS, *QUERIES])
    assert set(found.query_ids) == set(QUERIES)
    first = {found.query_ids[q]: found.document_ids[d]
             for q, d in zip(found.query[::-1], found.document[::-1], strict=True)}  # fmt: skip
    assert first == dict(RELEVANT)
    check_again(here, record)
    in_another_checkout(here, record, monkeypatch)


def in_another_checkout(
    here: Path, record: rankstone.RunRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same files at another path are the same task, and the gate compares its records."""
    other = here / "another" / "checkout"
    shutil.copytree(here / "mine", other / "mine")
    shutil.copytree(here / "results", other / "baseline")
    shutil.rmtree(here / "mine")
    monkeypatch.chdir(other)
    again = run(here, "./mine", results=other / "candidate")
    assert again.task.name == record.task.name
    assert again.task.source == str(other / "mine")
    verdicts = rankstone.gate("baseline", "candidate", on="./mine")
    assert [(v.task, v.outcome) for v in verdicts] == [(record.task.name, "pass")]
    session = Session(results=other / "baseline", cache=here / "cache")
    [(stored, path)] = session.records("bm25@./mine")
    assert stored.task.source == str(here / "mine"), "which is gone"
    assert session.verify(stored, path) == []
    assert session.records(on="./mine") == [(stored, path)]
    [reused] = session.run("bm25", "./mine")
    assert reused == stored
    own_names(here, session)


def own_names(here: Path, session: Session) -> None:
    """A name chosen by the user identifies one content."""
    [named] = session.run("bm25", "files:mine#dev", task_name="tickets", limit_queries=1)
    assert named.task.name == "own/tickets@first1"
    check_again(here, named, session)
    again = session.run("bm25", "./mine#dev", task_name="tickets", limit_queries=1)
    assert again == [named]
    with Path("mine/corpus.jsonl").open("a") as file:
        file.write(lines({"more": "a fox"}))
    with pytest.raises(ResultsError, match=r"own/tickets names other data .*files/mine-.*--as"):
        session.run("bm25", "./mine#dev", task_name="tickets")
    with pytest.raises(DefinitionError, match="one task at a time"):
        session.run("bm25", ["./mine", "files:mine#dev"], task_name="tickets")


def test_a_trio_of_trec_files(here: Path) -> None:
    docs = "".join(
        f"<DOC><DOCNO>D{n}</DOCNO><TEXT>{text}</TEXT></DOC>\n"
        for n, text in enumerate(DOCUMENTS.values())
    )
    (here / "docs.sgml.gz").write_bytes(gzip.compress(docs.encode()))
    (here / "topics.tsv").write_text("301\tquick fox\n302\tlazy dog\n")
    (here / "qrels.txt").write_text("301 0 D0 1\n302 0 D1 1\n")
    topic = "<top><num>{}<title>none<desc>{}</top>\n"
    asked = [topic.format(301, "quick fox"), topic.format(302, "lazy dog")]
    (here / "topics.xml").write_text("".join(asked))
    record = run(here, "files:docs=docs.sgml.gz,topics=topics.tsv,qrels=qrels.txt")
    assert record.task.name.startswith("files/docs-topics-")
    assert record.measures["RR@10"].mean == 1.0
    assert (here / "results" / record.task.name).is_dir()
    check_again(here, record)
    named = "files:docs=docs.sgml.gz,topics=topics.xml,qrels=qrels.txt,query=desc"
    with_field = run(here, named)
    assert with_field.measures["RR@10"].mean == 1.0
    check_again(here, with_field)
    assert recorded_task(with_field.task.name, with_field.task.source or "", "test") == task_of(
        named
    )


def test_a_task_of_ir_datasets_is_made_again_from_its_name() -> None:
    whole = task_of("irds:beir/scifact/test")
    assert whole is not None
    found = recorded_task(
        "irds/beir/scifact/test@first5@k7", "ir_datasets:beir/scifact/test", "test"
    )
    assert found == whole.limited(queries=5, depth=7)
    assert recorded_task("beir/scifact", "/data/beir/scifact", "test") is None


def test_a_missing_path_is_named(here: Path) -> None:
    with pytest.raises(DefinitionError, match=r"gone: no such folder"):
        recorded_task("files/gone-00000000", str(here / "gone"), "test")
