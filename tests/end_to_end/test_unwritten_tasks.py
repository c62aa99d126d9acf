"""Whole runs on collections that no definition names, with ids that TREC's files cannot hold."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

import rankstone
from rankstone.results.trec import read_run

DOCUMENTS = {"a b": "the quick fox", "em\u2003space": "a lazy dog", " lead": "some grey bird"}
QUERIES = {"q 1": "quick fox", "q\u00a02": "lazy dog"}
RELEVANT = [("q 1", "a b"), ("q\u00a02", "em\u2003space")]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("RANKSTONE_DATA", "RANKSTONE_CACHE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def run(here: Path, name: str) -> rankstone.RunRecord:
    (record,) = rankstone.run("bm25", name, cache=here / "cache", results=here / "results")
    assert record.error is None
    return record


def lines(rows: dict[str, str]) -> str:
    return "".join(json.dumps({"_id": key, "text": text}) + "\n" for key, text in rows.items())


def test_a_folder_whose_ids_hold_white_space(here: Path) -> None:
    (here / "mine" / "qrels").mkdir(parents=True)
    (here / "mine" / "corpus.jsonl").write_text(lines(DOCUMENTS))
    (here / "mine" / "queries.jsonl").write_text(lines(QUERIES))
    judged = "".join(f"{q}\t{d}\t1\n" for q, d in RELEVANT)
    (here / "mine" / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged)
    record = run(here, "./mine")
    assert record.measures["RR@10"].mean == 1.0
    assert record.task.source == str(here / "mine")
    (path,) = (here / "results").rglob("*.run.zst")
    found = read_run(path, known=[*DOCUMENTS, *QUERIES])
    assert set(found.query_ids) == set(QUERIES)
    first = {found.query_ids[q]: found.document_ids[d]
             for q, d in zip(found.query[::-1], found.document[::-1], strict=True)}  # fmt: skip
    assert first == dict(RELEVANT)


def test_a_trio_of_trec_files(here: Path) -> None:
    docs = "".join(
        f"<DOC><DOCNO>D{n}</DOCNO><TEXT>{text}</TEXT></DOC>\n"
        for n, text in enumerate(DOCUMENTS.values())
    )
    (here / "docs.sgml.gz").write_bytes(gzip.compress(docs.encode()))
    (here / "topics.tsv").write_text("301\tquick fox\n302\tlazy dog\n")
    (here / "qrels.txt").write_text("301 0 D0 1\n302 0 D1 1\n")
    record = run(here, "files:docs=docs.sgml.gz,topics=topics.tsv,qrels=qrels.txt")
    assert record.task.name.startswith("files/docs-topics-")
    assert record.measures["RR@10"].mean == 1.0
    assert (here / "results" / record.task.name).is_dir()
